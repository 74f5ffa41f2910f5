package enrichment_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

	"github.com/onbehalf-dev/onbehalf/bff/enrich"
	"github.com/onbehalf-dev/onbehalf/bff/internal/enrichment"
)

const provider = "https://login.test"

// world is a source and what it asks.
type world struct {
	*enrichment.Source

	t     *testing.T
	at    atomic.Int64
	log   buffer
	calls atomic.Int32
	reply func(ctx context.Context, in *enrich.Input) (*enrich.Output, error)
}

func newWorld(t *testing.T, change func(*enrichment.Settings)) *world {
	t.Helper()
	w := &world{t: t}
	w.reply = func(context.Context, *enrich.Input) (*enrich.Output, error) { return facts(), nil }
	s := enrichment.Settings{
		Enricher: w, Issuer: "https://edge.test", Timeout: time.Second, Cache: time.Minute, MaxStale: 10 * time.Minute,
		Entries: 100, Logger: slog.New(slog.NewTextHandler(&w.log, nil)), Now: w.now,
	}
	if change != nil {
		change(&s)
	}
	w.Source = enrichment.New(s)
	return w
}

func serve(s *enrichment.Settings) { s.Serve = true }

func (w *world) now() time.Time          { return time.Unix(1_800_000_000+w.at.Load(), 0) }
func (w *world) advance(d time.Duration) { w.at.Add(int64(d / time.Second)) }

// Enrich implements [enrich.Enricher].
func (w *world) Enrich(ctx context.Context, in *enrich.Input) (*enrich.Output, error) {
	w.calls.Add(1)
	return w.reply(ctx, in)
}

// ask returns the roles that alice has then.
func (w *world) ask() []string {
	w.t.Helper()
	f, why, err := w.Facts(w.t.Context(), provider, alice())
	if err != nil || why != "" {
		w.t.Fatal(why, err)
	}
	return f.Roles
}

func facts() *enrich.Output {
	return &enrich.Output{Workspace: "acme", Roles: []string{"buyer", "auditor"}, Attributes: map[string]string{"plan": "gold"}}
}

func alice() *principalv1.Principal {
	return &principalv1.Principal{
		Subject: &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "alice"}},
		Scopes:  []string{"orders:read"}, Roles: []string{"buyer", "staff"}, Tenant: "north",
		SessionId:  []byte("0123456789abcdef"),
		Attributes: []*principalv1.Attribute{{Name: "locale", Value: "de"}, {Name: "region", Value: "eu"}},
	}
}

func attributes(f enrichment.Facts) map[string]string {
	all := make(map[string]string)
	for _, a := range f.Attributes {
		all[a.GetName()] = a.GetValue()
	}
	return all
}

type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
