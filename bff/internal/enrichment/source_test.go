package enrichment_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

	"github.com/onbehalf-dev/onbehalf/bff/enrich"
	"github.com/onbehalf-dev/onbehalf/bff/internal/enrichment"
)

var errDown = errors.New("secret text of the enricher")

func TestFacts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p := alice()
	f, why, err := w.Facts(t.Context(), provider, p)
	if err != nil || why != "" {
		t.Fatal(why, err)
	}
	if d := cmp.Diff([]string{"auditor", "buyer", "staff"}, f.Roles); d != "" {
		t.Error(d)
	}
	want := map[string]string{"locale": "de", "plan": "gold", "region": "eu", "workspace": "acme"}
	if d := cmp.Diff(want, attributes(f)); d != "" {
		t.Error(d)
	}
	if !slices.IsSortedFunc(f.Attributes, func(a, b *principalv1.Attribute) int { return strings.Compare(a.GetName(), b.GetName()) }) {
		t.Error("not in order:", f.Attributes)
	}
	if !proto.Equal(p, alice()) {
		t.Error("the principal of the authenticator was modified:", p)
	}
}

func TestInput(t *testing.T) {
	t.Parallel()
	for _, perSession := range []bool{false, true} {
		w := newWorld(t, func(s *enrichment.Settings) { s.PerSession = perSession })
		want := &enrich.Input{Issuer: provider, Subject: "hm-alice", Kind: "human", Tenant: "north", Roles: []string{"buyer", "staff"}}
		if perSession {
			want.Session = "30313233-3435-3637-3839-616263646566"
		}
		w.reply = func(_ context.Context, in *enrich.Input) (*enrich.Output, error) {
			if d := cmp.Diff(want, in); d != "" {
				t.Error(d)
			}
			return new(enrich.Output), nil
		}
		w.ask()
		other := alice()
		other.SessionId = []byte("another session!")
		if perSession {
			want.Session = "616e6f74-6865-7220-7365-7373696f6e21"
		}
		if _, _, err := w.Facts(t.Context(), provider, other); err != nil {
			t.Error(err)
		}
		if calls := w.calls.Load(); calls == 2 != perSession {
			t.Errorf("%d calls", calls)
		}
	}
}

// An agent that acts for alice must not get the rights that only she has.
func TestAgentGetsNoRolesOfItsSubject(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p := alice()
	p.Roles = nil
	p.Delegations = []*principalv1.Delegation{{Actor: &principalv1.Identity{Id: &principalv1.Identity_AgentName{AgentName: "helper"}}}}
	f, _, err := w.Facts(t.Context(), provider, p)
	if err != nil || len(f.Roles) > 0 || attributes(f)["workspace"] != "acme" {
		t.Error(f, err)
	}
}

// What the credential says about its subject is not overruled.
func TestAttributeOfTheCredentialStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.reply = func(context.Context, *enrich.Input) (*enrich.Output, error) {
		return &enrich.Output{Attributes: map[string]string{"region": "us"}}, nil
	}
	f, _, err := w.Facts(t.Context(), provider, alice())
	if err != nil || attributes(f)["region"] != "eu" {
		t.Error(f, err)
	}
}

// A subject of the same name under another authority is somebody else.
func TestSubjectOfAnotherAuthority(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	p := alice()
	p.Subject.Issuer = "https://elsewhere.test"
	f, _, err := w.Facts(t.Context(), provider, p)
	if err != nil || w.calls.Load() != 0 || len(f.Roles) != 2 {
		t.Error(f, err)
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.ask()
	w.advance(59 * time.Second)
	w.ask()
	if w.calls.Load() != 1 {
		t.Error("asked again within the cache time")
	}
	w.advance(time.Second)
	w.ask()
	if w.calls.Load() != 2 {
		t.Error("not asked again after it")
	}
	w.advance(-time.Hour)
	w.ask()
	if w.calls.Load() != 3 {
		t.Error("an answer from the future is used")
	}
	for _, change := range []func(p *principalv1.Principal){
		func(p *principalv1.Principal) { p.Subject.Id = &principalv1.Identity_AgentName{AgentName: "alice"} },
		func(p *principalv1.Principal) { p.Tenant = "south" },
		func(p *principalv1.Principal) { p.Tenant = "" },
		func(p *principalv1.Principal) { p.Roles = []string{"buyer staff"} },
	} {
		before, p := w.calls.Load(), alice()
		change(p)
		if _, _, err := w.Facts(t.Context(), provider, p); err != nil || w.calls.Load() != before+1 {
			t.Error("shared with another subject", p, err)
		}
	}
}

func TestStale(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.ask()
	w.reply = func(context.Context, *enrich.Input) (*enrich.Output, error) { return nil, errDown }
	w.advance(time.Minute)
	for range 5 { // within a second it is asked once
		if len(w.ask()) != 3 {
			t.Error("the old answer is not used")
		}
	}
	if w.calls.Load() != 2 {
		t.Error(w.calls.Load(), "calls")
	}
	w.advance(8 * time.Minute)
	w.ask()
	w.advance(time.Minute)
	if _, _, err := w.Facts(t.Context(), provider, alice()); err == nil {
		t.Error("an answer is used beyond its limit")
	}
	w.reply = func(context.Context, *enrich.Input) (*enrich.Output, error) { return new(enrich.Output), nil }
	if len(w.ask()) != 2 { // errors are not remembered
		t.Error("the new answer is not used")
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		reply func(ctx context.Context, in *enrich.Input) (*enrich.Output, error)
		want  string
	}{
		"error":   {func(context.Context, *enrich.Input) (*enrich.Output, error) { return nil, errDown }, "the enricher failed (*errors.errorString)"},
		"panic":   {func(context.Context, *enrich.Input) (*enrich.Output, error) { panic("secret") }, "the enricher panicked"},
		"nothing": {func(context.Context, *enrich.Input) (*enrich.Output, error) { return nil, nil }, "the enricher returned nothing"},
		"too many": {func(context.Context, *enrich.Input) (*enrich.Output, error) {
			return &enrich.Output{Roles: make([]string, 17)}, nil
		}, "roles: 17 of them, at most 16"},
		"too many together": {func(context.Context, *enrich.Input) (*enrich.Output, error) {
			return &enrich.Output{Roles: numbered(15)}, nil
		}, "roles: 17 of them with those of the credential, at most 16"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := "enrichment: " + tt.want
			w := newWorld(t, nil)
			w.reply = tt.reply
			_, _, err := w.Facts(t.Context(), provider, alice())
			if failure, ok := errors.AsType[*enrichment.Error](err); !ok || failure.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			w = newWorld(t, serve)
			w.reply = tt.reply
			f, why, err := w.Facts(t.Context(), provider, alice())
			if err != nil || why != want || len(f.Roles) != 2 || len(f.Attributes) != 2 {
				t.Error(f, why, err)
			}
			if log := w.log.String(); !strings.Contains(log, tt.want) || strings.Contains(log, "secret") {
				t.Error(log)
			}
		})
	}
}

// An enricher that is down for an hour must not fill the log.
func TestWarningsAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, serve)
	w.reply = func(context.Context, *enrich.Input) (*enrich.Output, error) { return nil, errDown }
	for range 50 {
		if _, _, err := w.Facts(t.Context(), provider, alice()); err != nil {
			t.Fatal(err)
		}
	}
	w.advance(10 * time.Second)
	if _, _, err := w.Facts(t.Context(), provider, alice()); err != nil {
		t.Fatal(err)
	}
	if log := w.log.String(); strings.Count(log, "\n") != 2 || !strings.Contains(log, "not_shown=49") {
		t.Error(log)
	}
}

func TestConcurrentRequestsShareACall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		answer := make(chan struct{})
		w.reply = func(context.Context, *enrich.Input) (*enrich.Output, error) {
			<-answer
			return facts(), nil
		}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { w.ask() })
		}
		synctest.Wait()
		close(answer)
		wg.Wait()
		if w.calls.Load() != 1 {
			t.Error(w.calls.Load(), "calls")
		}
	})
}

// Who began a call and leaves does not take it from the others.
func TestLeaving(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.reply = func(ctx context.Context, _ *enrich.Input) (*enrich.Output, error) {
			select {
			case <-time.After(time.Second / 2):
				return facts(), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := w.Facts(ctx, provider, alice()); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		synctest.Wait()
		wg.Go(func() { w.ask() })
		synctest.Wait()
		leave()
		wg.Wait()
		if w.calls.Load() != 1 {
			t.Error(w.calls.Load(), "calls")
		}
	})
}

// An enricher that hangs, and does not heed its context, costs its own subjects
// the timeout, others nothing, and the edge no more than 256 goroutines.
func TestSlowEnricher(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		release := make(chan struct{})
		w.reply = func(_ context.Context, in *enrich.Input) (*enrich.Output, error) {
			if in.Subject != "hm-alice" {
				<-release
			}
			return facts(), nil
		}
		var wg sync.WaitGroup
		begun := time.Now()
		for i := range 400 {
			wg.Go(func() {
				p := alice()
				p.Subject.Id = &principalv1.Identity_HumanName{HumanName: fmt.Sprint("slow", i)}
				_, _, err := w.Facts(t.Context(), provider, p)
				if err == nil || !strings.Contains(err.Error(), "no answer in time") && !strings.Contains(err.Error(), "too many calls") {
					t.Error(err)
				}
			})
			if i == 100 {
				synctest.Wait()
				if w.ask(); time.Since(begun) > 0 {
					t.Error("alice waits for others")
				}
			}
		}
		wg.Wait()
		if took := time.Since(begun); took != time.Second || w.calls.Load() > 257 {
			t.Error(took, w.calls.Load(), "calls")
		}
		close(release)
		synctest.Wait()
	})
}

// What an enricher does to its answer afterwards does not get past the check.
func TestAnswerIsCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	out := facts()
	w.reply = func(context.Context, *enrich.Input) (*enrich.Output, error) { return out, nil }
	w.ask()
	out.Roles[0], out.Attributes["plan"] = "admin\u202e", "x"
	f, _, err := w.Facts(t.Context(), provider, alice())
	if err != nil || !slices.Equal(f.Roles, []string{"auditor", "buyer", "staff"}) || attributes(f)["plan"] != "gold" {
		t.Error(f, err)
	}
}

func numbered(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint("r", i)
	}
	return list
}
