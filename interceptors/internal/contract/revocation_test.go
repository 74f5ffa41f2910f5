package contract_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

// scene is a service whose verifier follows a feed, in a bubble.
type scene struct {
	stack    stack
	protocol protocol
	shape    shape
	feed     *feed
	events   *record
	app      *app
	client   *peer
}

// eachScene runs a test for every stack, protocol and shape, each in a bubble.
func eachScene(t *testing.T, rule *principalv1.AccessRule, a func() *app, test func(t *testing.T, s *scene)) {
	t.Helper()
	for _, st := range stacks {
		for _, p := range st.protocols {
			for _, sh := range shapes {
				t.Run(st.name+"/"+string(p)+"/"+sh.String(), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						s := &scene{stack: st, protocol: p, shape: sh, feed: newFeed(t), events: new(record), app: a()}
						v := verifierOf(t, "s2", newKeySet(), principal.WithRevocations(s.feed))
						srv := st.start(t, guardOf(t, v, rules(rule), principal.WithObserver(s.events)), s.app, nil)
						s.client = newPeer(t, srv, p, nil)
						test(t, s)
					})
				})
			}
		}
	}
}

// open opens a call with one message, and waits until its handler waits.
func (s *scene) open(t *testing.T, edit ...func(*principalv1.Principal)) *exchange {
	t.Helper()
	header := text(authority(alice("s2", append(edit, sequenced)...)).header("A"))
	e, err := s.client.open(t.Context(), s.shape, http.Header{"X-Principal-Bin": {header}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	if err := e.send("one"); err != nil {
		t.Fatal(err)
	}
	if s.shape == unary || s.shape == serverStream {
		e.closeSend()
	}
	synctest.Wait()
	return e
}

// mayStream reports whether the stack cannot tell a unary call from a stream.
func (s *scene) mayStream() bool {
	return s.protocol == plainProtocol || s.stack.name == "connect-v1" && s.protocol != connectProtocol
}

// ends checks that a call ends with a reason, and that this is told once.
func (s *scene) ends(t *testing.T, e *exchange, want principal.Reason) {
	t.Helper()
	messages, o, err := e.finish()
	if s.protocol == plainProtocol && len(messages) > 0 {
		if err == nil {
			t.Error("the response looks complete")
		}
	} else if told := (outcome{want.Code(), want.Code().Message(), want.String()}); err != nil || o != told {
		t.Errorf("the call ended with %+v, %v; want %+v", o, err, told)
	}
	if slices.Contains(messages, "too late") {
		t.Error("the caller got what the handler sent when it was over")
	}
	synctest.Wait()
	events := s.events.take()
	if len(events) != 2 || events[0].Decision != principal.Allowed || events[1].Decision != principal.Ended || events[1].Reason != want {
		t.Errorf("events %+v", events)
	} else if events[1].Principal.Subject().String() != "hm-alice" || events[1].Procedure != events[0].Procedure {
		t.Errorf("the end was told as %+v", events[1])
	}
}

// refuses checks that a new call is refused.
func (s *scene) refuses(t *testing.T, want principal.Reason) {
	t.Helper()
	header := http.Header{"X-Principal-Bin": {text(authority(alice("s2", sequenced)).header("A"))}}
	_, o, err := s.client.call(t.Context(), s.shape, header)
	if err != nil {
		t.Error(err)
	}
	handled, _, _ := s.app.take()
	refused(t, "a new call", want, o, s.events.take(), len(handled))
}

// stubborn is a service whose handlers take a second to notice that their
// context has ended, and then answer as if it had not.
type stubborn struct {
	mu     sync.Mutex
	causes []error
}

func (b *stubborn) app() *app {
	return &app{handle: func(ctx context.Context, _ shape, stream messages) error {
		if _, err := stream.receive(); err != nil {
			return err
		}
		<-ctx.Done()
		b.mu.Lock()
		b.causes = append(b.causes, context.Cause(ctx))
		b.mu.Unlock()
		pass(time.Second)
		_ = stream.send("too late")
		return nil
	}}
}

// R01, R05: a revocation ends what is under way, whatever its shape; the caller
// gets the reason and nothing that the handler sends or returns afterwards.
func TestRevocationEndsCall(t *testing.T) {
	t.Parallel()
	handlers := new(stubborn)
	eachScene(t, anyKind(), handlers.app, func(t *testing.T, s *scene) {
		e := s.open(t)
		pass(10 * time.Second)
		s.feed.revoke(sessionOf("session-of-nobody"))
		pass(time.Second)
		start := time.Now()
		s.feed.revoke(sessionOf("session-of-alice"))
		s.ends(t, e, principal.ReasonRevoked)
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
	t.Cleanup(func() {
		for _, cause := range handlers.causes {
			if errors.Is(cause, context.Canceled) || cause == nil {
				t.Errorf("the context of a handler ended because of %v", cause)
			}
		}
		if len(handlers.causes) != 4*(1+3+3+1) {
			t.Errorf("%d handlers ran", len(handlers.causes))
		}
	})
}

// What is revoked before a call has begun is refused, and an answer that was
// given before counts.
func TestRevocationBeforeAndAfter(t *testing.T) {
	t.Parallel()
	eachScene(t, anyKind(), func() *app { return new(app) }, func(t *testing.T, s *scene) {
		e := s.open(t)
		e.closeSend()
		messages, o, err := e.finish()
		if err != nil || o != (outcome{}) || len(messages) != 1 {
			t.Errorf("%q, %+v, %v", messages, o, err)
		}
		synctest.Wait()
		s.app.take()
		s.feed.revoke(sessionOf("session-of-alice"))
		if events := s.events.take(); len(events) != 1 {
			t.Errorf("events %+v", events)
		}
		s.refuses(t, principal.ReasonRevoked)
	})
}

// R01, R07, G06: each kind of target ends the streams that it is part of, and no
// others.
func TestTargetsOfRevocation(t *testing.T) {
	t.Parallel()
	identity := func(text string) revocation.Target {
		id, err := principal.ParseIdentity(text, edgeA)
		if err != nil {
			t.Fatal(err)
		}
		return revocation.Identity(id)
	}
	grant := func(name string) revocation.Target {
		return revocation.Grant(edgeA, principal.ID([]byte("grant " + name + "---")[:16]))
	}
	for _, c := range []struct {
		name   string
		target revocation.Target
		ends   bool
	}{
		{"principal", revocation.Principal(edgeA, principal.ID([]byte("0123456789abcdef"))), true},
		{"session", sessionOf("session-of-alice"), true},
		{"subject", identity("hm-alice"), true},
		{"outer agent", identity("am-shopper"), true},
		{"actor", identity("am-fetcher"), true},
		{"grant", grant("shopper"), true},
		{"service that signed", revocation.Service("s1"), true},
		{"key of the issuer", revocation.Key(i1.KeyRef), true},
		{"key of a link", revocation.Key(s1.KeyRef), true},
		{"another session", sessionOf("session-of-bob--"), false},
		{"another subject", identity("hm-bob"), false},
		{"another grant", grant("comparer"), false},
		{"another service", revocation.Service("s3"), false},
		{"another key", revocation.Key(b1.KeyRef), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFeed(t)
				v := verifierOf(t, "s2", newKeySet(), principal.WithRevocations(f))
				srv := stacks[0].start(t, guardOf(t, v, rules(anyKind())), new(app), nil)
				e, err := newPeer(t, srv, grpcProtocol, nil).open(t.Context(), bidi, http.Header{"X-Principal-Bin": {text(via(delegated, sequenced).header("B"))}})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(e.close)
				if err := e.send("one"); err != nil {
					t.Fatal(err)
				}
				if m, err := e.receive(); m != "one" || err != nil {
					t.Fatal(m, err)
				}
				f.revoke(c.target)
				synctest.Wait()
				if !c.ends {
					e.closeSend()
				}
				_, o, err := e.finish()
				if want := map[bool]string{true: "revoked"}[c.ends]; err != nil || o.reason != want {
					t.Errorf("%+v, %v", o, err)
				}
			})
		})
	}
}

// R04: streams end when the feed has been silent for too long, as new calls are
// refused; a unary call that was let in is answered. Both recover alone.
func TestSilentFeedEndsStreams(t *testing.T) {
	t.Parallel()
	patient := func() *app {
		return &app{handle: func(ctx context.Context, s shape, stream messages) error {
			if s == bidi {
				return echo(s, stream)
			}
			if _, err := stream.receive(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Minute):
			}
			return stream.send("done")
		}}
	}
	eachScene(t, anyKind(), patient, func(t *testing.T, s *scene) {
		heard, stop := context.WithCancel(t.Context())
		go s.feed.beat(heard)
		e := s.open(t)
		pass(time.Minute + time.Second)
		stop()
		last := time.Now().Add(-time.Second) // the last beat
		if s.shape == unary && !s.mayStream() {
			if messages, o, err := e.finish(); err != nil || o != (outcome{}) || !slices.Equal(messages, []string{"done"}) {
				t.Errorf("%q, %+v, %v", messages, o, err)
			}
			s.events.take()
		} else {
			s.ends(t, e, principal.ReasonStale)
			if age := time.Since(last); age != 30*time.Second {
				t.Errorf("it ended %v after the last sign of the feed", age)
			}
		}
		s.app.take()
		s.refuses(t, principal.ReasonStale)
		s.feed.send(0)
		again := s.open(t)
		if events := s.events.take(); len(events) != 1 || events[0].Decision != principal.Allowed {
			t.Errorf("afterwards: %+v", events)
		}
		again.close()
		pass(3 * time.Minute)
	})
}

// A rule that demands fresher knowledge holds for as long as a stream does.
func TestRevocationAgeOfStream(t *testing.T) {
	t.Parallel()
	rule := anyKind()
	rule.MaxRevocationAge = durationpb.New(8 * time.Second)
	eachScene(t, rule, new(stubborn).app, func(t *testing.T, s *scene) {
		if s.shape == unary {
			return
		}
		heard, stop := context.WithCancel(t.Context())
		go s.feed.beat(heard)
		e := s.open(t)
		pass(time.Minute)
		stop()
		start := time.Now()
		s.ends(t, e, principal.ReasonStale)
		if age := time.Since(start); age > 9*time.Second || age < 2*time.Second {
			t.Errorf("it ended after %v", age)
		}
	})
}

func ofSession(length time.Duration) func(*principalv1.Principal) {
	return func(p *principalv1.Principal) { p.StreamUntil = p.IssuedAt + int64(length/time.Second) }
}

// A stream of a method with STREAM_LIFE_SESSION lives for hours: to the end of
// the session while the feed is live, and not a second past a revocation.
func TestStreamOfSession(t *testing.T) {
	t.Parallel()
	rule := anyKind()
	rule.Stream = principalv1.StreamLife_STREAM_LIFE_SESSION
	eachScene(t, rule, new(stubborn).app, func(t *testing.T, s *scene) {
		if s.shape == unary {
			return
		}
		heard, stop := context.WithCancel(t.Context())
		defer stop()
		go s.feed.beat(heard)
		for _, c := range []struct {
			until  time.Duration
			revoke time.Duration
			want   time.Duration
			reason principal.Reason
		}{
			{2 * time.Hour, 0, 2 * time.Hour, principal.ReasonTime},
			{0, 0, life, principal.ReasonTime},
			{2 * time.Hour, time.Hour, time.Hour, principal.ReasonRevoked},
		} {
			edit := func(*principalv1.Principal) {}
			if c.until > 0 {
				edit = ofSession(c.until)
			}
			start := time.Now()
			e := s.open(t, edit)
			if c.revoke > 0 {
				pass(c.revoke)
				s.feed.revoke(sessionOf("session-of-alice"))
			}
			s.ends(t, e, c.reason)
			if age := time.Since(start); age < c.want || age > c.want+time.Second {
				t.Errorf("it ended after %v, want %v", age, c.want)
			}
		}
	})
}

// Without a feed nobody could end such a stream, so it ends with its principal.
func TestStreamOfSessionWithoutFeed(t *testing.T) {
	t.Parallel()
	rule := anyKind()
	rule.Stream = principalv1.StreamLife_STREAM_LIFE_SESSION
	for _, st := range stacks {
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := st.start(t, guardOf(t, verifierOf(t, "s2", newKeySet()), rules(rule)), new(app), nil)
				start := time.Now()
				e, err := newPeer(t, srv, st.protocols[0], nil).open(t.Context(), bidi, http.Header{"X-Principal-Bin": {text(authority(alice("s2", ofSession(2*time.Hour))).header("A"))}})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(e.close)
				wantEnd(t, e)
				wantAge(t, start, 0)
			})
		})
	}
}

// What is observed only is let through, and not ended either.
func TestObservedStreamGoesOn(t *testing.T) {
	t.Parallel()
	for _, st := range stacks {
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFeed(t)
				v := verifierOf(t, "s2", newKeySet(), principal.WithRevocations(f))
				g := guardOf(t, v, rules(anyKind()), principal.ObserveOnly(serviceName, bidi.pattern()))
				srv := st.start(t, g, new(app), nil)
				e, err := newPeer(t, srv, st.protocols[0], nil).open(t.Context(), bidi, http.Header{"X-Principal-Bin": {text(authority(alice("s2", sequenced)).header("A"))}})
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if err := e.send("one"); err != nil {
						t.Fatal(err)
					}
					if m, err := e.receive(); m != "one" || err != nil {
						t.Fatalf("%q, %v", m, err)
					}
					f.revoke(sessionOf("session-of-alice"))
					pass(time.Hour)
				}
				e.closeSend()
				if _, o, err := e.finish(); err != nil || o != (outcome{}) {
					t.Errorf("%+v, %v", o, err)
				}
			})
		})
	}
}
