package mint_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/internal/mint"
)

const issuer = "https://edge.test"

func identity(t *testing.T, name string) revocation.Target {
	t.Helper()
	id, err := principal.ParseIdentity(name, issuer)
	if err != nil {
		t.Fatal(err)
	}
	return revocation.Identity(id)
}

func reasonOf(err error) authn.Reason {
	if e, ok := errors.AsType[*authn.Error](err); ok {
		return e.Reason
	}
	return 0
}

// What is revoked is not minted any more, neither from the cache nor anew: a
// stolen token would be worth a new principal (R01, R07).
func TestRevoked(t *testing.T) {
	t.Parallel()
	delegated := func(w *world) func(context.Context, http.Header) (*authn.Result, error) {
		return func(ctx context.Context, h http.Header) (*authn.Result, error) {
			r, err := w.believe(ctx, h)
			if err != nil {
				return nil, err
			}
			r.Principal.SessionId = []byte("session of alice")
			r.Principal.Delegations = []*principalv1.Delegation{{
				GrantId: []byte("grant of alice 1"), Actor: &principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: "helper"}},
			}}
			return r, nil
		}
	}
	for name, target := range map[string]func(m *mint.Minted) revocation.Target{
		"subject": func(*mint.Minted) revocation.Target { return identity(t, "hm-alice") },
		"actor":   func(*mint.Minted) revocation.Target { return identity(t, "am-helper") },
		"session": func(*mint.Minted) revocation.Target {
			return revocation.Session(issuer, principal.ID([]byte("session of alice")))
		},
		"grant": func(*mint.Minted) revocation.Target {
			return revocation.Grant(issuer, principal.ID([]byte("grant of alice 1")))
		},
	} {
		for spec, shape := range map[string]mint.Spec{"window": linked, "request": once} {
			t.Run(name+"/"+spec, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 10)
				w.authenticate = delegated(w)
				m := w.mint("alice", shape)
				w.revocations.revoke(identity(t, "hm-bob"), w.now())
				if w.mint("alice", shape); m.Revoked(&w.revocations) {
					t.Error("ended by what has nothing to do with it")
				}
				w.revocations.revoke(target(m), w.now())
				if _, err := w.Mint(t.Context(), credential("alice"), shape); reasonOf(err) != authn.ReasonRevoked {
					t.Error("minted:", err)
				}
				if !m.Revoked(&w.revocations) {
					t.Error("what was minted before goes on")
				}
			})
		}
	}
}

// A principal that was revoked by its id is not handed out again, but its
// credential is good for another one.
func TestRevokedPrincipal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	m := w.mint("alice", relay)
	w.revocations.revoke(revocation.Principal(issuer, principal.ID(m.Principal.GetId())), w.now())
	next := w.mint("alice", relay)
	if next == m || !m.Revoked(&w.revocations) || next.Revoked(&w.revocations) {
		t.Error("the revoked one is still in use, or the next one is not")
	}
	if next.Principal.GetRevocationSequence() != 101 {
		t.Error("sequence", next.Principal.GetRevocationSequence())
	}
}

// Who logs in again after a revocation has a credential that was issued later.
func TestNewLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.mint("alice", relay)
	w.revocations.revoke(identity(t, "hm-alice"), w.now())
	w.authenticate = func(ctx context.Context, h http.Header) (*authn.Result, error) {
		r, err := w.believe(ctx, h)
		r.IssuedAt = w.now().Add(time.Minute)
		return r, err
	}
	w.advance(2 * time.Minute)
	if _, err := w.Mint(t.Context(), credential("alice"), relay); err != nil {
		t.Error(err)
	}
}

// A credential older than what is remembered could have been revoked.
func TestForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.life = 48 * time.Hour
	w.mint("alice", relay)
	w.advance(24*time.Hour + time.Second)
	if _, err := w.Mint(t.Context(), credential("alice"), relay); reasonOf(err) != authn.ReasonTime {
		t.Error(err)
	}
}
