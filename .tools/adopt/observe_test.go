package adopt_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

// users are who calls: what is given for a name says who that is.
type users struct{}

func (users) CredentialHeaders() []string { return []string{userHeader} }

func (users) Authenticate(_ context.Context, h http.Header) (*authn.Result, error) {
	p := &principalv1.Principal{
		Subject: &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: h.Get(userHeader)}},
		Scopes:  []string{"loans:read", "loans:write"},
	}
	switch h.Get(userHeader) {
	case "":
		return nil, authn.ErrNoCredential
	case "late":
		return nil, &authn.Error{Reason: authn.ReasonTime}
	case "reader":
		p.Scopes = []string{"loans:read"}
	case "stranger":
		p.Scopes = nil
	case "assistant":
		p.Delegations = []*principalv1.Delegation{{
			GrantId: []byte("of the assistant"),
			Actor:   &principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: "assistant"}},
		}}
	}
	return &authn.Result{Principal: p, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}, nil
}

// attempt is a call, what a caller is told of it when all is in force, and the
// reason that is logged then.
type attempt struct {
	user, header, method string
	direct               bool // around the edge
	want                 codes.Code
	reason               string
}

// String says which attempt it is, without the header.
func (a attempt) String() string {
	return fmt.Sprintf("%s of %q, around the edge %t, wants %v %s", a.method, a.user, a.direct, a.want, a.reason)
}

// attempts has none that differ only in what they are for.
func attempts(t *testing.T, key ed25519.PrivateKey) []attempt {
	t.Helper()
	now := time.Now().Unix()
	_, foreign, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return []attempt{
		{user: "owner", method: getLoan},
		{user: "owner", method: repay},
		{user: "reader", method: getLoan},
		{user: "reader", method: repay, want: codes.PermissionDenied, reason: "scope"},
		{user: "stranger", method: getLoan, want: codes.PermissionDenied, reason: "scope"},
		{user: "assistant", method: getLoan},
		{user: "assistant", method: repay, want: codes.PermissionDenied, reason: "kind"},
		{method: getLoan, want: codes.Unauthenticated, reason: "missing"},
		{user: "late", method: repay, want: codes.Unauthenticated, reason: "credential"},
		{direct: true, method: getLoan, want: codes.Unauthenticated, reason: "missing"},
		{direct: true, method: getLoan, header: sign(t, key, "loans", now-3600), want: codes.Unauthenticated, reason: "time"},
		{direct: true, method: repay, header: sign(t, key, "ledger", now), want: codes.Unauthenticated, reason: "audience"},
		{direct: true, method: repay, header: sign(t, foreign, "loans", now), want: codes.Unauthenticated, reason: "unknown_key"},
		{direct: true, method: repay, header: "CANARY, not a header", want: codes.Unauthenticated, reason: "malformed"},
	}
}

// sign makes a header as the edge's key does.
func sign(t *testing.T, key ed25519.PrivateKey, audience string, issued int64) string {
	t.Helper()
	signer, err := principal.NewSigner("https://edge.test", key, "")
	if err != nil {
		t.Fatal(err)
	}
	header, err := signer.Sign(&principalv1.Principal{
		Audience: audience, Presenter: "bff", MaxLinks: 1, IssuedAt: issued, ExpiresAt: issued + 60,
		Subject: &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "caller"}}, Scopes: []string{"loans:read"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return header
}

// What the report over the logs says while a service and its route are observed
// is what is refused when they are in force: the same calls, for the same
// reasons, of the same callers.
func TestObserveThenEnforce(t *testing.T) {
	t.Parallel()
	onbehalf := command(t)
	r := clone(t, "after")
	r.buf("generate")
	// What docs/observe.md says: the names that are observed come from the configuration.
	r.replace(".", "main.go", `principal\.NewLogObserver\(slog\.Default\(\)\)\)\)`,
		`principal.NewLogObserver(slog.Default())), principal.ObserveOnly(strings.Fields(os.Getenv("OBSERVE"))...))`)
	r.replace(".", "main.go", `"os/signal"`, `"os/signal"; "strings"`)
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	calls := attempts(t, key)
	watched := strings.Replace(config, "audience: loans", "audience: loans, observe: true", 1)
	const all = "loans.v1.LoanService"

	observing := trial(t, r, onbehalf, key, watched, all, calls)
	byMethod := trial(t, r, onbehalf, key, watched, getLoan+" "+repay, calls)
	atService := trial(t, r, onbehalf, key, watched, "", calls)
	everywhere := trial(t, r, onbehalf, key, config, "", calls)

	for i, a := range calls {
		if observing.codes[i] != codes.OK || byMethod.codes[i] != codes.OK {
			t.Errorf("%v while observed: %v, by method %v", a, observing.codes[i], byMethod.codes[i])
		}
		if everywhere.codes[i] != a.want {
			t.Errorf("%v in force: %v", a, everywhere.codes[i])
		}
	}
	same(t, "of the service", observing.findings("would_refuse", false), atService.findings("refused", false))
	same(t, "of methods", byMethod.findings("would_refuse", false), atService.findings("refused", false))
	same(t, "of the edge", observing.findings("would_refuse", true), everywhere.findings("refused", true))
	said := observing.findings("would_refuse", false)
	for reason, n := range observing.findings("would_refuse", true) {
		said[reason] = n
	}
	for _, a := range calls {
		if a.want != codes.OK && said[a.where()+" "+a.reason] == nil {
			t.Errorf("%v: the report does not say so: %v", a, said)
		}
	}
	if len(atService.findings("would_refuse", false)) > 0 || len(everywhere.findings("would_refuse", true)) > 0 {
		t.Error("something is observed that is in force")
	}
	if observing.exit != 1 || everywhere.exit != 0 {
		t.Errorf("--fail exits with %d while observed, and with %d in force", observing.exit, everywhere.exit)
	}
}

// where is the method, or the route of the edge that decides.
func (a attempt) where() string {
	if a.reason == "credential" || a.reason == "missing" && !a.direct {
		return "route"
	}
	return a.method
}

func same(t *testing.T, what string, got, want map[string]any) {
	t.Helper()
	if len(want) == 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: observed\n%v, in force\n%v", what, got, want)
	}
}

// outcome is what came of all calls, and the report over the logs.
type outcome struct {
	codes  []codes.Code
	report report
	exit   int
}

type report struct {
	Methods []struct {
		Method, Route string
		Findings      []struct {
			Decision, Reason, Needs string
			Calls                   int
			SubjectCount            int `json:"subject_count"`
			Callers                 []struct {
				Name, Kind, Proof string
				Calls             int
			}
		}
	}
}

// findings are those of the service or of the edge: "method reason needs" and
// who.
func (o *outcome) findings(decision string, edge bool) map[string]any {
	all := make(map[string]any)
	for _, m := range o.report.Methods {
		if (m.Route != "") != edge {
			continue
		}
		where := m.Method
		if edge {
			where = "route"
		}
		for _, f := range m.Findings {
			if f.Decision == decision {
				all[where+" "+f.Reason] = fmt.Sprint(f.Needs, f.Calls, f.SubjectCount, f.Callers)
			}
		}
	}
	return all
}

// trial makes all calls of a service that observes what is named, behind an edge
// with a configuration, and reports on their logs.
func trial(t *testing.T, r *repository, onbehalf string, key ed25519.PrivateKey, config, observe string, calls []attempt) *outcome {
	t.Helper()
	dir := t.TempDir()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	e := startEdgeWith(t, dir, "signing_key: key.pem\n"+config, users{})
	ctx, stop := r.launch(e.upstream, "EDGE="+e.mesh, "ENROLLMENT_TOKEN="+e.token, "OBSERVE="+observe)
	expect(ctx, t, e.upstream, health, codes.OK)
	o := new(outcome)
	for _, a := range calls {
		address := e.public
		if a.direct {
			address = e.upstream
		}
		with := ctx
		if a.user != "" {
			with = metadata.AppendToOutgoingContext(with, userHeader, a.user)
		}
		if a.header != "" {
			with = metadata.AppendToOutgoingContext(with, principal.HeaderName, a.header)
		}
		o.codes = append(o.codes, invoke(with, t, address, a.method))
	}
	log := filepath.Join(dir, "loans.log")
	if err := os.WriteFile(log, []byte(stop()), 0o600); err != nil {
		t.Fatal(err)
	}
	e.stop()
	out, err := exec.CommandContext(t.Context(), onbehalf, "report", "--fail", "-o", "json", log, filepath.Join(dir, "audit.jsonl")).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		o.exit = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &o.report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if text, err := exec.CommandContext(t.Context(), onbehalf, "report", log, filepath.Join(dir, "audit.jsonl")).Output(); err != nil {
		t.Error(err)
	} else if t.Logf("observed: %q\n%s", observe, text); strings.Contains(string(text), "CANARY") {
		t.Error("the report repeats a header")
	}
	return o
}

// command builds the edge's binary.
func command(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "onbehalf")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./bff/cmd/onbehalf")
	build.Dir, build.Env = "../..", append(os.Environ(), "GOWORK=", "GOFLAGS=-buildvcs=false")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}
