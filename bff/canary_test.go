package bff_test

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// Z01: nothing secret is in the log, in the audit records or in an answer,
// whatever becomes of a request.
func TestCanaries(t *testing.T) {
	t.Parallel()
	e := start(t, setup{
		options: []bff.Option{bff.WithAuthenticator(apiKeys{err: &authn.Error{Reason: authn.ReasonSignature}})},
		extra:   "  - {path_prefix: /gone, upstream: \"http://127.0.0.1:1\", mode: relay}\n",
		handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Principal-Bin", r.Header.Get("X-Principal-Bin"))
			w.Header().Set("X-Principal-Reason", r.Header.Get("X-Principal-Bin"))
			if r.URL.Path == "/relay/broken" {
				panic(http.ErrAbortHandler)
			}
		}),
	})
	secrets := map[string]bool{"canary": true}
	var answers strings.Builder
	send := func(method, path, token string, header http.Header) {
		t.Helper()
		for segment := range strings.SplitSeq(token, ".") {
			if len(segment) > 20 {
				secrets[segment[len(segment)/2-10:len(segment)/2+10]] = true
			}
		}
		h := http.Header{
			"Cookie": {"session=canary-cookie"}, "X-Principal-Bin": {"canary-principal"}, "X_principal_bin": {"canary-alias"},
			"User-Agent": {"canary-agent"}, "X-Request-Id": {"canary-id"}, "Traceparent": {"canary-trace"}, "Tracestate": {"canary-state"},
		}
		maps.Copy(h, header)
		res := e.do(method, path+"?token=canary-query", token, h)
		res.Header.Write(&answers)
		answers.WriteString(res.Body)
	}
	tokens := []string{
		e.provider.token("alice", map[string]any{"secret": "canary-claim"}), forged(t, e.provider), "canary-token", "",
		e.provider.token("alice", map[string]any{"aud": "canary-audience"}), e.provider.token("alice", map[string]any{"iss": "canary-issuer"}),
		e.provider.token("alice", map[string]any{"exp": "canary-exp"}), e.provider.token("alice", map[string]any{"act": map[string]any{"sub": "canary-actor"}}),
		e.provider.token("alice", map[string]any{"scope": "canary\x01scope"}), strings.Repeat("canary.", 2000),
	}
	for _, token := range tokens {
		for _, path := range []string{"/relay", "/linked", "/once", "/optional", "/public", "/relay/broken", "/gone", "/nowhere", "/relay%2fx"} {
			send(http.MethodGet, path, token, nil)
		}
	}
	send(http.MethodGet, "/relay", tokens[0], http.Header{"X-Api-Key": {"canary-key"}})
	send(http.MethodGet, "/relay", tokens[0], http.Header{"Upgrade": {"canary-upgrade"}, "Connection": {"Upgrade"}})
	send(http.MethodPost, "/relay", tokens[1], http.Header{"Content-Type": {"application/grpc+canary"}})
	for _, h := range e.upstream.seen {
		if v := h.Get(principal.HeaderName); v != "" {
			secrets[v[len(v)-40:]] = true
		}
	}
	files, err := filepath.Glob(filepath.Join(e.dir, "data", "authority-*.pem"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	key, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(e.dir, "data", "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	secrets[string(token[:20])] = true
	for line := range strings.Lines(string(key)) {
		if len(line) > 40 && !strings.HasPrefix(line, "-") {
			secrets[line[20:40]] = true
		}
	}
	records := e.records()
	if want := len(tokens)*9 + 3; len(records) != want {
		t.Errorf("%d records, want %d", len(records), want)
	}
	audit, err := os.ReadFile(filepath.Join(e.dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	// The type of a gRPC answer is the one that was asked with.
	sinks := map[string]string{
		"log": e.log.String(), "audit": string(audit), "answers": strings.ReplaceAll(answers.String(), "application/grpc+canary", ""),
	}
	for name, text := range sinks {
		for secret := range secrets {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s: %s", name, text[max(0, i-200):min(len(text), i+100)])
			}
		}
	}
	if len(secrets) < 20 {
		t.Error("too few secrets were looked for:", len(secrets))
	}
}

// I09: a defect ends one request, which is recorded, and what was thrown is
// shown to nobody.
func TestPanic(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	e := start(t, setup{options: []bff.Option{bff.WithClock(func() time.Time {
		if broken.CompareAndSwap(true, false) {
			panic("what was thrown")
		}
		return time.Now()
	})}})
	e.get("/public", "")
	broken.Store(true)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.public+"/public", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := e.client.Do(req); err == nil {
		res.Body.Close()
		t.Error(res.Status)
	}
	e.get("/public", "")
	counts := make(map[string]int)
	for _, r := range e.records() {
		counts[r.text("reason")]++
	}
	if counts["internal"] != 1 || counts[""] != 2 {
		t.Error(counts)
	}
	if log := e.log.String(); strings.Contains(log, "what was thrown") || !strings.Contains(log, "a request panicked") {
		t.Error(log)
	}
}
