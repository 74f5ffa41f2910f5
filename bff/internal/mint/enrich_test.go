package mint_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/enrich"
	"github.com/onbehalf-dev/onbehalf/bff/internal/enrichment"
	"github.com/onbehalf-dev/onbehalf/bff/internal/mint"
)

type enricher func() (*enrich.Output, error)

func (f enricher) Enrich(context.Context, *enrich.Input) (*enrich.Output, error) { return f() }

// enrich has the world's principals enriched.
func (w *world) enrich(serve bool, f enricher) {
	w.Enrichment = enrichment.New(enrichment.Settings{
		Enricher: f, Issuer: "https://edge.test", Timeout: 5 * time.Second, Cache: time.Second, MaxStale: time.Second,
		Serve: serve, Entries: 10, Logger: slog.New(slog.DiscardHandler), Now: w.now,
	})
}

// Roles and attributes are all that an enricher changes.
func TestEnrichedFields(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	plain := w.mint("alice", linked).Principal
	w = newWorld(t, 10)
	w.enrich(false, func() (*enrich.Output, error) {
		return &enrich.Output{Workspace: "acme", Roles: []string{"orders:admin", "buyer"}}, nil
	})
	for range 3 {
		got := w.mint("alice", linked).Principal
		if d := gocmp.Diff(plain, got, protocmp.Transform(), protocmp.IgnoreFields(got, "id", "roles", "attributes")); d != "" {
			t.Error(d)
		}
		if !slices.Equal(got.GetRoles(), []string{"buyer", "orders:admin"}) || got.GetAttributes()[0].GetValue() != "acme" {
			t.Error(got)
		}
	}
	w.counts(1, 1)
}

// What the edge itself vouches for is not an enricher's matter.
func TestIssuedIsNotEnriched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.enrich(false, func() (*enrich.Output, error) { return &enrich.Output{Roles: []string{"admin"}}, nil })
	m, err := w.Issue(&authn.Result{
		Principal: &principalv1.Principal{Subject: &principalv1.Identity{Id: &principalv1.Identity_ServiceName{ServiceName: "billing"}}},
		ExpiresAt: w.start.Add(time.Hour),
	}, linked)
	if err != nil || len(m.Principal.GetRoles()) > 0 {
		t.Error(m, err)
	}
}

func TestEnrichmentFails(t *testing.T) {
	t.Parallel()
	down := func() (*enrich.Output, error) { return nil, errors.New("down") }
	w := newWorld(t, 10)
	w.enrich(false, down)
	for range 2 { // errors are not remembered
		if m, err := w.Mint(t.Context(), credential("alice"), relay); m != nil || !errors.Is(err, mint.ErrEnriching) {
			t.Error(m, err)
		}
	}
	w.counts(2, 0)

	w = newWorld(t, 10)
	w.enrich(true, down)
	first := w.mint("alice", relay)
	if first.Unenriched == "" || len(first.Principal.GetRoles()) > 0 {
		t.Error(first)
	}
	w.advance(4 * time.Second)
	if w.mint("alice", relay) != first {
		t.Error("not shared")
	}
	w.advance(time.Second)
	w.enrich(true, func() (*enrich.Output, error) { return &enrich.Output{Roles: []string{"buyer"}}, nil })
	if m := w.mint("alice", relay); m.Unenriched != "" || len(m.Principal.GetRoles()) != 1 {
		t.Error("what was added too late is not seen soon:", m)
	}
}

// What passes the checks of an enricher's answer can always be signed: nobody is
// kept out by what somebody else says of them and that was found to be in order.
func FuzzEnrichedIsSigned(f *testing.F) {
	f.Add("acme", "buyer", "plan", "gold", 1)
	f.Add("", "a\u202eb", "x\x00", "\xff", 16)
	f.Add(strings.Repeat("w", 256), strings.Repeat("r", 256), "workspace", "", 2)
	f.Add("", "\u2028", strings.Repeat("n", 256), strings.Repeat("v", 256), 17)
	f.Fuzz(func(t *testing.T, workspace, role, name, value string, roles int) {
		w := newWorld(t, 10)
		w.enrich(false, func() (*enrich.Output, error) {
			out := &enrich.Output{Workspace: workspace, Attributes: map[string]string{name: value}}
			for i := range min(max(roles, 0), 20) {
				out.Roles = append(out.Roles, role[:max(0, len(role)-i)])
			}
			return out, nil
		})
		m, err := w.Mint(t.Context(), credential("alice"), linked)
		if err != nil && !errors.Is(err, mint.ErrEnriching) || err == nil && m.Principal.GetScopes()[0] != "orders:read" {
			t.Error(m, err)
		}
	})
}
