package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

	"github.com/onbehalf-dev/onbehalf/bff/internal/audit"
)

// disk is a file on a disk that becomes full.
type disk struct {
	mu      sync.Mutex
	written bytes.Buffer
	room    int // -1: no end
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.room < 0 || len(p) <= d.room {
		if d.room > 0 {
			d.room -= len(p)
		}
		return d.written.Write(p)
	}
	n, _ := d.written.Write(p[:d.room])
	d.room = 0
	return n, errors.New("no space left on device")
}

func (d *disk) records(t *testing.T) []map[string]any {
	t.Helper()
	var list []map[string]any
	for lines := bufio.NewScanner(bytes.NewReader(d.written.Bytes())); lines.Scan(); {
		var r map[string]any
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("a torn record: %v %s", err, lines.Bytes())
		}
		list = append(list, r)
	}
	return list
}

func newLog(t *testing.T, d *disk) (*audit.Log, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	l, err := audit.Open("", audit.Options{Stdout: d, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return l, &log
}

func uuid(b byte) []byte { return bytes.Repeat([]byte{b}, 16) }

func TestRecord(t *testing.T) {
	t.Parallel()
	agent := func(b byte) *principalv1.Delegation {
		return &principalv1.Delegation{GrantId: uuid(b), Actor: &principalv1.Identity{Id: &principalv1.Identity_AgentUuid{AgentUuid: uuid(b + 1)}}}
	}
	d := &disk{room: -1}
	l, _ := newLog(t, d)
	l.Write(t.Context(), &audit.Record{
		Time: time.Unix(1_800_000_000, 0).UTC(), Duration: 1500 * time.Microsecond,
		RequestID: "req_1", TraceID: "t", Client: "10.0.0.1", Method: "POST", Host: "h", Path: "/s/M", Route: "/s", RPC: "s/M",
		Decision: audit.Refused, Reason: audit.ReasonCredential, CredentialIssuer: "https://login.test", CredentialReason: "time", Detail: "expired", UpstreamReason: "scope",
		Status: 401, Smuggled: 2, Issuer: "https://edge.test",
		Principal: &principalv1.Principal{
			Id: uuid(1), Audience: "orders", ExpiresAt: 1_800_000_300,
			Subject:     &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "alice"}},
			Delegations: []*principalv1.Delegation{agent(0x10), agent(0x20)},
			Scopes:      []string{"a", "b"}, Roles: []string{"r"}, Tenant: "acme", ClientId: "web", SessionId: uuid(2), TransactionId: uuid(3),
			Authentication: &principalv1.Authentication{Acr: "2", Amr: []string{"otp"}, Source: "oidc"},
		},
	})
	const id = "01010101-0101-0101-0101-010101010101"
	repeat := func(hex string) string { return strings.NewReplacer("01", hex).Replace(id) }
	want := []map[string]any{{
		"time": "2027-01-15T08:00:00Z", "msg": "request",
		"request_id": "req_1", "trace_id": "t", "client": "10.0.0.1", "method": "POST", "host": "h", "path": "/s/M", "route": "/s", "rpc": "s/M",
		"decision": "refused", "reason": "credential", "credential_issuer": "https://login.test", "credential_reason": "time", "detail": "expired", "upstream_reason": "scope",
		"status": 401.0, "duration_ms": 1.5, "smuggle_stripped": 2.0,
		"principal": map[string]any{
			"id": id, "kind": "agent", "actor": "am-" + repeat("21"), "subject": "hm-alice", "issuer": "https://edge.test", "audience": "orders",
			"delegations": []any{"am-" + repeat("11"), "am-" + repeat("21")}, "grants": []any{repeat("10"), repeat("20")},
			"scopes": []any{"a", "b"}, "roles": []any{"r"}, "tenant": "acme", "client_id": "web",
			"session": repeat("02"), "transaction": repeat("03"), "acr": "2", "amr": []any{"otp"}, "source": "oidc", "expires_at": 1800000300.0,
		},
	}}
	if diff := cmp.Diff(want, d.records(t)); diff != "" {
		t.Error(diff)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for want, identity := range map[string]*principalv1.Identity{
		"hm-01010101-0101-0101-0101-010101010101 human": {Id: &principalv1.Identity_HumanUuid{HumanUuid: uuid(1)}},
		"am-bot agent":         {Id: &principalv1.Identity_AgentName{AgentName: "bot"}},
		"svc-billing service":  {Id: &principalv1.Identity_ServiceName{ServiceName: "billing"}},
		"hm-alice human":       {Id: &principalv1.Identity_HumanName{HumanName: "alice"}},
		"%!s(<nil>) none":      nil,
		"hm-\x1b[31mbad human": {Id: &principalv1.Identity_HumanName{HumanName: "\x1b[31mbad"}},
	} {
		d := &disk{room: -1}
		l, _ := newLog(t, d)
		l.Write(t.Context(), &audit.Record{Principal: &principalv1.Principal{Subject: identity}})
		p := d.records(t)[0]["principal"].(map[string]any)
		if got := fmt.Sprintf("%s %s", p["subject"], p["kind"]); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Z02: what a client chose stays within its field, and is short.
func TestLogInjection(t *testing.T) {
	t.Parallel()
	for _, evil := range []string{
		"\r\n{\"decision\":\"allowed\"}", "\x1b[2J", `"}` + "\n" + `{"msg":"x"}`, "\xff\xfe", strings.Repeat("ä", 1<<19), "a" + strings.Repeat("ä", 200),
	} {
		d := &disk{room: -1}
		l, _ := newLog(t, d)
		l.Write(t.Context(), &audit.Record{Method: evil, Host: evil, Path: evil, RPC: evil, TraceID: evil, Client: evil, Detail: evil})
		if bytes.Count(d.written.Bytes(), []byte("\n")) != 1 || bytes.ContainsAny(d.written.Bytes(), "\x1b\r") {
			t.Errorf("%.20q: %q", evil, d.written.Bytes())
		}
		if path := d.records(t)[0]["path"].(string); len(path) > 256 || len(evil) > 256 && (len(path) < 255 || strings.ContainsRune(path, '\ufffd')) {
			t.Errorf("%.20q: %d bytes", evil, len(path))
		}
	}
}

// A disk that is full for a while costs no record, and tears none.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	d := &disk{room: -1}
	l, log := newLog(t, d)
	write := func(id string) { l.Write(t.Context(), &audit.Record{RequestID: id}) }
	write("1")
	if l.Failing() {
		t.Error("failing at first")
	}
	d.room = 20 // of the next record
	write("2")
	write("3")
	if !l.Failing() {
		t.Error("not failing")
	}
	write("4")
	if n := strings.Count(log.String(), "cannot be written"); n != 1 {
		t.Errorf("%d lines of complaint, want 1: %s", n, log)
	}
	d.room = 10
	write("5")
	d.room = -1
	if l.Failing() {
		t.Error("still failing")
	}
	write("6")
	var got []string
	for _, r := range d.records(t) {
		got = append(got, r["request_id"].(string))
	}
	if diff := cmp.Diff([]string{"1", "2", "3", "4", "5", "6"}, got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(log.String(), "can be written again") || !strings.Contains(log.String(), "lost=0") {
		t.Error(log)
	}
}

// What is kept is bounded; what is lost is counted.
func TestDiskFullForLong(t *testing.T) {
	t.Parallel()
	d := new(disk)
	l, log := newLog(t, d)
	const records = 10_000 // of more than 300 bytes each
	for i := range records {
		l.Write(t.Context(), &audit.Record{RequestID: strconv.Itoa(i), Path: strings.Repeat("x", 300)})
	}
	d.room = -1
	if l.Failing() {
		t.Error("still failing")
	}
	kept := len(d.records(t))
	if d.written.Len() > 1<<20 || kept < 2000 || !strings.Contains(log.String(), fmt.Sprintf("lost=%d", records-kept)) {
		t.Errorf("%d bytes, %d records: %s", d.written.Len(), kept, log)
	}
}

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	for range 2 { // the second time, it is there
		l, err := audit.Open(path, audit.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		l.Write(context.WithoutCancel(t.Context()), &audit.Record{})
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil || bytes.Count(data, []byte("\n")) != 2 {
		t.Errorf("%s %v", data, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if _, err := audit.Open(filepath.Join(path, "x"), audit.Options{}); err == nil {
		t.Error("opened below a file")
	}
}
