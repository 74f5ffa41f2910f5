package contract_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	connectv1rpc "connectrpc.com/connect"
	"connectrpc.com/connect/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect/connectv1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalhttp"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// retrying makes grpc-go retry what is unavailable.
func retrying(backoff string) grpc.DialOption {
	return grpc.WithDefaultServiceConfig(`{"methodConfig": [{"name": [{}], "retryPolicy": {
		"maxAttempts": 3, "initialBackoff": "` + backoff + `", "maxBackoff": "` + backoff + `", "backoffMultiplier": 1,
		"retryableStatusCodes": ["UNAVAILABLE"]}}]}`)
}

// failing fails every call but the n-th with UNAVAILABLE.
func failing(n int) *app {
	var mu sync.Mutex
	calls := 0
	return &app{handle: func(_ context.Context, s shape, stream messages) error {
		mu.Lock()
		defer mu.Unlock()
		if calls++; calls < n {
			return status.Error(codes.Unavailable, "not yet")
		}
		return echo(s, stream)
	}}
}

// I07: a retry that comes when the first link can no longer be presented has a
// link of its own.
func TestRetryHasAFreshLink(t *testing.T) {
	t.Parallel()
	for _, s := range shapes {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				next := stacks[0].start(t, guardOf(t, verifierOf(t, "next", newKeySet()), rules(anyKind())), failing(2), nil)
				call := callGRPCWith(t, next, append(principalgrpc.DialOptions(propagatorOf(t, s2), "next"), retrying("140s")))
				ctx, start := contextOf(t, "s2", via().header("B")), time.Now()
				if _, err := call(ctx, s, forged); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(start); waited < 90*time.Second {
					t.Fatalf("the retry came after %v: the first link was still good", waited)
				}
				_, headers, _ := next.app.take()
				if len(headers) != 2 || len(headers[0]) != 1 || len(headers[1]) != 1 || headers[0][0] == headers[1][0] {
					t.Errorf("the attempts brought %q", headers)
				}
			})
		})
	}
}

// I07: each attempt of a method that may be called once with a link has its own.
func TestRetryOfSingleUse(t *testing.T) {
	t.Parallel()
	guard := guardOf(t, verifierOf(t, "next", newKeySet()), rulesFor(onceMethod, onceRule))
	next := stacks[0].start(t, guard, failing(3), nil)
	options := append(principalgrpc.DialOptions(propagatorOf(t, s2), "next"), retrying("0.001s"))
	conn := connTo(t, next, options...)
	ctx := contextOf(t, "s2", via().header("B"))
	for range 2 {
		var out value
		if err := conn.Invoke(ctx, onceMethod, wrapperspb.String("one"), &out); err != nil {
			t.Error(err)
		}
	}
	_, headers, _ := next.app.take()
	seen := make(map[string]bool)
	for _, h := range headers {
		seen[h[0]] = true
	}
	if len(headers) != 4 || len(seen) != 4 {
		t.Errorf("%d attempts with %d headers, want 4 and 4", len(headers), len(seen))
	}
}

// D09: where a method may be called once with a link, a second call with it is
// refused, by whoever. Section D without TLS has no other means against that.
func TestReplay(t *testing.T) {
	t.Parallel()
	rule := anyKind()
	rule.SingleUse = true
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			events := new(record)
			srv := s.start(t, guardOf(t, verifierOf(t, "s2", newKeySet()), rules(rule), principal.WithObserver(events)), new(app), nil)
			for _, p := range s.protocols {
				client := newPeer(t, srv, p, nil)
				for _, sh := range shapes {
					c := authority(alice("s1")).link(s1, to("s2", string(p)+sh.String()))
					header := http.Header{"X-Principal-Bin": {text(c.header(string(p) + sh.String()))}}
					echoed, o, err := client.call(t.Context(), sh, header)
					contexts, _, _ := srv.app.take()
					accepted(t, "first", o, events.take(), len(contexts), len(echoed))
					if err != nil {
						t.Error(err)
					}
					_, o, _ = client.call(t.Context(), sh, header)
					contexts, _, _ = srv.app.take()
					refused(t, "second", principal.ReasonReplayed, o, events.take(), len(contexts))
				}
			}
		})
	}
}

// A stream that its caller opens and leaves for longer than a link can be held
// sends a good one with its first message.
func TestLinkOfAStreamThatWaits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		of   stack
		open func(ctx context.Context, client *http.Client, p *principal.Propagator) (send func() error, receive func() error, end func())
	}{
		{"connect-v2", stacks[1], func(ctx context.Context, client *http.Client, p *principal.Propagator) (send, receive func() error, end func()) {
			stream, err := connect.NewClient(principalconnect.NewTransport(client, nextURL), principalconnect.NewClientInterceptor(p, "next")).CallClientStream(ctx, spec(bidi))
			if err != nil {
				return func() error { return err }, nil, func() {}
			}
			return func() error { return stream.Send(wrapperspb.String("one")) }, func() error { return stream.Receive(new(value)) }, func() { _ = stream.Close() }
		}},
		{"connect-v1", stacks[2], func(ctx context.Context, client *http.Client, p *principal.Propagator) (send, receive func() error, end func()) {
			stream := connectv1rpc.NewClient[value, value](client, nextURL+bidi.procedure(), connectv1rpc.WithInterceptors(connectv1.NewClientInterceptor(p, "next"))).CallBidiStream(ctx)
			return func() error { return stream.Send(wrapperspb.String("one")) }, func() error { _, err := stream.Receive(); return err },
				func() { _ = stream.CloseRequest(); _ = stream.CloseResponse() }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				next := c.of.start(t, guardOf(t, verifierOf(t, "next", newKeySet()), rules(anyKind())), new(app), nil)
				client := &http.Client{Transport: httpTransport(t, next)}
				send, receive, end := c.open(contextOf(t, "s2", via().header("B")), client, propagatorOf(t, s2))
				defer end()
				pass(150 * time.Second)
				if err := errors.Join(send(), receive()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// redirecting answers every request for next.test with a redirect to another
// host, and notes what the other host gets.
type redirecting struct {
	target string

	mu  sync.Mutex
	got []http.Header
}

func (r *redirecting) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Host == "next.test" && !strings.HasPrefix(req.URL.Path, "/moved") {
		http.Redirect(w, req, r.target+req.URL.Path, http.StatusTemporaryRedirect)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, req.Header)
}

func (r *redirecting) serve(t *testing.T) *server {
	t.Helper()
	srv := &server{listener: bufconn.Listen(1 << 16), app: new(app)}
	httpServer := &http.Server{Handler: r, Protocols: new(http.Protocols)}
	httpServer.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = httpServer.Serve(srv.listener)
	}()
	t.Cleanup(func() {
		_ = httpServer.Close()
		<-done
	})
	return srv
}

// I07: a redirect leads no principal anywhere, also not to a host that the
// caller knows.
func TestRedirect(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"http://evil.test", "http://next.test/moved"} {
		for _, c := range callers[1:] {
			t.Run(c.name+" to "+strings.TrimPrefix(target, "http://"), func(t *testing.T) {
				t.Parallel()
				r := &redirecting{target: target}
				call := c.connect(t, r.serve(t), propagatorOf(t, s2))
				ctx := contextOf(t, "s2", relayed())
				for _, s := range shapes {
					_, err := call(ctx, s, forged)
					if (err == nil) != (c.name == "net-http") {
						t.Errorf("%s: %v", s, err)
					}
				}
				for _, header := range r.got {
					for name := range header {
						if principal.IsAlias(name) {
							t.Errorf("%s went along", name)
						}
					}
				}
				if c.name != "net-http" && len(r.got) != 0 {
					t.Error("the redirect was followed")
				}
			})
		}
	}
}

// A host that is not named gets nothing, and needs no principal.
func TestOtherHost(t *testing.T) {
	t.Parallel()
	r := &redirecting{}
	srv := r.serve(t)
	client := &http.Client{Transport: principalhttp.NewTransport(httpTransport(t, srv), propagatorOf(t, s2), map[string]string{"next.test": "next"})}
	for _, ctx := range []context.Context{contextOf(t, "s2", relayed()), t.Context()} {
		for _, host := range []string{"other.test", "next.test:8080", "next.test.evil.test", "next.test@evil.test"} {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header["X_principal-Bin"] = []string{"forged"}
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
		}
	}
	for _, header := range r.got {
		for name := range header {
			if principal.IsAlias(name) {
				t.Errorf("%s went along", name)
			}
		}
	}
	if len(r.got) != 8 {
		t.Errorf("%d requests arrived, want 8", len(r.got))
	}
}

// A request that is not sent is closed, as its sender has handed its body over.
func TestBodyOfARequestThatIsNotSent(t *testing.T) {
	t.Parallel()
	body := &closing{Reader: strings.NewReader("one")}
	transport := principalhttp.NewTransport(nil, propagatorOf(t, s2), map[string]string{"next.test": "next"})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://NEXT.test/", body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := transport.RoundTrip(request); !errors.Is(err, principal.ErrNoPrincipal) || !body.closed {
		t.Errorf("%v, closed %v", err, body.closed)
	}
}

type closing struct {
	io.Reader

	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}
