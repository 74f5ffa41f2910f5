package contract_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalhttp"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// wide is a service with forty methods, eight of each kind.
func wide() grpc.ServiceDesc {
	desc := grpc.ServiceDesc{ServiceName: "contract.v1.Wide", HandlerType: (*any)(nil)}
	for i := range 8 {
		for j := range 2 {
			name := fmt.Sprintf("Unary%d", 2*i+j)
			desc.Methods = append(desc.Methods, grpc.MethodDesc{MethodName: name, Handler: grpcUnary("/contract.v1.Wide/" + name)})
		}
		for _, s := range streams {
			desc.Streams = append(desc.Streams, grpc.StreamDesc{
				StreamName: fmt.Sprintf("%s%d", s, i), Handler: grpcHandler(s),
				ServerStreams: s != clientStream, ClientStreams: s != serverStream,
			})
		}
	}
	return desc
}

// I01: what is registered and has no rule is refused, and named at start.
func TestEveryMethodOfGRPC(t *testing.T) {
	t.Parallel()
	// Only one method is known to the rules, and health checks are for everyone.
	rules := rulesFor("/contract.v1.Wide/Unary0", anyKind()).WithService("grpc.health.v1.Health", principal.AllowAnonymous())
	events := new(record)
	g := guardOf(t, verifierOf(t, "s2", newKeySet()), rules, principal.WithObserver(events))
	srv := grpc.NewServer(append(principalgrpc.ServerOptions(g), grpc.UnknownServiceHandler(grpcHandler(bidi)))...)
	desc, a := wide(), new(app)
	srv.RegisterService(&desc, a)
	healthv1.RegisterHealthServer(srv, health.NewServer())
	reflection.Register(srv)
	s := &server{listener: bufconn.Listen(1 << 16), app: a}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(s.listener)
	}()
	t.Cleanup(func() {
		srv.Stop()
		<-done
	})

	err := principalgrpc.Check(srv, g)
	if err == nil {
		t.Fatal("Check finds nothing")
	}
	conn := connTo(t, s)
	called := 0
	for service, info := range srv.GetServiceInfo() {
		for _, m := range info.Methods {
			method := "/" + service + "/" + m.Name
			if m.Name == "Watch" {
				continue // is let in, and goes on
			}
			var out value
			err2 := conn.Invoke(t.Context(), method, wrapperspb.String(""), &out)
			happened := events.take()
			open := service == "grpc.health.v1.Health"
			if named := strings.Contains(err.Error(), method+",") || strings.Contains(err.Error(), method+":"); named == (open || m.Name == "Unary0") {
				t.Errorf("Check names %s: %v", method, named)
			}
			if open {
				if len(happened) != 1 || happened[0].Decision != principal.Allowed {
					t.Errorf("%s: %+v", method, happened)
				}
				continue
			}
			if called++; status.Code(err2) != codes.Unauthenticated || len(happened) != 1 || happened[0].Reason != principal.ReasonMissing {
				t.Errorf("%s: %v, %+v", method, err2, happened)
			}
		}
	}
	if called < 40+2 {
		t.Errorf("only %d methods were called", called)
	}

	// Where the principal is good, what is missing is the rule; this holds for a
	// method that does not exist too.
	auth := callWith(t, s, relayed())
	for _, method := range []string{"/contract.v1.Wide/Unary1", "/contract.v1.Wide/Bidi0", "/contract.v1.Wide/Unary0x", "//contract.v1.Wide/Unary0", "/contract.v1.Wide/Unary0?x=1", "/contract.v1.wide/Unary0"} {
		if err := auth(method); status.Code(err) != codes.PermissionDenied && status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", method, err)
		}
		if happened := events.take(); len(happened) > 0 && happened[0].Reason != principal.ReasonNoRule {
			t.Errorf("%s: %+v", method, happened)
		}
	}
	if contexts, _, _ := a.take(); len(contexts) != 0 {
		t.Errorf("%d handlers ran", len(contexts))
	}
	if err := auth("/contract.v1.Wide/Unary0"); err != nil {
		t.Error(err)
	}
}

// callWith calls methods of srv with a header.
func callWith(t *testing.T, srv *server, header string) func(method string) error {
	t.Helper()
	text(header)
	conn := connTo(t, srv, grpc.WithPerRPCCredentials(rawHeader(header)))
	return func(method string) error {
		var out value
		return conn.Invoke(t.Context(), method, wrapperspb.String(""), &out)
	}
}

type rawHeader string

func (h rawHeader) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{principal.HeaderName: string(h)}, nil
}

func (rawHeader) RequireTransportSecurity() bool { return false }

func TestEveryMethodOfConnect(t *testing.T) {
	t.Parallel()
	g := guardOf(t, verifierOf(t, "s2", newKeySet()), rulesFor(unary.procedure(), anyKind()))
	a := new(app)
	srv := connectServer(g, a)
	err := principalconnect.Check(srv, g)
	if err == nil {
		t.Fatal("Check finds nothing")
	}
	for _, s := range shapes {
		if named := strings.Contains(err.Error(), s.procedure()); named == (s == unary) {
			t.Errorf("Check names %s: %v", s, named)
		}
	}
	if err := principalconnect.Check(srv, guardOf(t, verifierOf(t, "s2", newKeySet()), rules(anyKind()))); err != nil {
		t.Error(err)
	}
	srv.SetUnknownHandler(func(context.Context, connect.Spec, connect.ServerStream) error {
		return a.serve(t.Context(), unary, nil)
	})
	mux := http.NewServeMux()
	connecthttp.Mount(mux, srv)
	s := stack{serve: serveConnect(func(*principal.Guard, *app) http.Handler { return mux })}.start(t, g, a, nil)
	for _, header := range []http.Header{nil, {"X-Principal-Bin": {text(relayed())}}} {
		client := newPeer(t, s, connectProtocol, nil)
		for _, procedure := range []string{"/contract.v1.Contract/Unknown", "/contract.v1.Contract/Unary/"} {
			request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, client.base+procedure, http.NoBody)
			request.Header = header.Clone()
			if request.Header == nil {
				request.Header = make(http.Header)
			}
			request.Header.Set("Content-Type", "application/proto")
			response, err := client.client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if want := map[bool]int{true: 401, false: 403}[header == nil]; response.StatusCode != want {
				t.Errorf("%s: status %d, want %d", procedure, response.StatusCode, want)
			}
		}
	}
	if contexts, _, _ := a.take(); len(contexts) != 0 {
		t.Errorf("%d handlers ran", len(contexts))
	}
}

// I01 for a ServeMux: what no pattern matches is the mux's to answer, and a
// pattern without a rule is refused before its handler or a redirect to it.
func TestEveryPattern(t *testing.T) {
	t.Parallel()
	ran := 0
	mux := http.NewServeMux()
	for _, pattern := range []string{"GET /orders/{id}", "POST /orders/{id}", "/tree/", "/open", "other.test/open"} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ran++
			_, _ = fmt.Fprint(w, r.Pattern, r.PathValue("id"))
		})
	}
	rules := rulesFor("GET /orders/{id}", anyKind()).WithMethod("/open", principal.AllowAnonymous())
	events := new(record)
	g := guardOf(t, verifierOf(t, "s2", newKeySet()), rules, principal.WithObserver(events))
	handler := principalhttp.NewMiddleware(g).Wrap(mux)
	s := stack{serve: serveConnect(func(*principal.Guard, *app) http.Handler { return handler })}.start(t, g, new(app), nil)
	client := newPeer(t, s, plainProtocol, nil)
	good := text(relayed())
	for _, c := range []struct {
		method, target, header string
		status                 int
		body                   string
		reason                 string
	}{
		{"GET", "/orders/7", good, 200, "GET /orders/{id}7", ""},
		{"GET", "/orders/7", "", 401, "unauthenticated\n", "missing"},
		{"POST", "/orders/7", good, 403, "permission denied\n", "no_rule"},
		{"POST", "/orders/7", "", 401, "unauthenticated\n", "missing"},
		{"PUT", "/orders/7", good, 405, "Method Not Allowed\n", ""},
		{"GET", "/nothing", good, 404, "404 page not found\n", ""},
		{"GET", "/tree", good, 403, "permission denied\n", "no_rule"},
		{"GET", "/tree/leaf", good, 403, "permission denied\n", "no_rule"},
		{"GET", "/tree/../open", "", 307, "", ""},
		{"GET", "/open", "", 200, "/open", ""},
		{"GET", "/open", good, 200, "/open", ""},
		{"GET", "/open", "AAAA", 401, "unauthenticated\n", "malformed"},
		{"GET", "//open", "", 307, "", ""},
	} {
		request, err := http.NewRequestWithContext(t.Context(), c.method, client.base+c.target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != "" {
			request.Header.Set("X-Principal-Bin", c.header)
		}
		ran = 0
		response, err := client.client.Transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		body := new(strings.Builder)
		_ = response.Write(body)
		_ = response.Body.Close()
		if response.StatusCode != c.status || response.Header.Get("X-Principal-Reason") != c.reason || !strings.HasSuffix(body.String(), c.body) || ran != map[bool]int{true: 1}[c.status == 200] {
			t.Errorf("%s %s: status %d, reason %q, handler ran %d times\n%s", c.method, c.target, response.StatusCode, response.Header.Get("X-Principal-Reason"), ran, body)
		}
		if want := map[bool]int{true: 1}[c.status != 404 && c.status != 405]; len(events.take()) != want {
			t.Errorf("%s %s: want %d events", c.method, c.target, want)
		}
	}
}
