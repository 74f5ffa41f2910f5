package proxy_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

var failures = []struct {
	failure       proxy.Failure
	code          codes.Code
	http, connect int
}{
	{proxy.Internal, codes.Internal, 500, 500},
	{proxy.BadRequest, codes.InvalidArgument, 400, 400},
	{proxy.MissingCredential, codes.Unauthenticated, 401, 401},
	{proxy.InvalidCredential, codes.Unauthenticated, 401, 401},
	{proxy.PermissionDenied, codes.PermissionDenied, 403, 403},
	{proxy.NotFound, codes.Unimplemented, 404, 501},
	{proxy.TooLarge, codes.ResourceExhausted, 413, 429},
	{proxy.Unavailable, codes.Unavailable, 503, 503},
	{proxy.Overloaded, codes.Unavailable, 503, 503},
	{proxy.TooManyFailures, codes.ResourceExhausted, 429, 429},
	{proxy.TooSlow, codes.DeadlineExceeded, 408, 504},
	{proxy.Failure(200), codes.Internal, 500, 500},
}

// Each failure is read by real clients as what it is.
func TestWriteErrorToClients(t *testing.T) {
	t.Parallel()
	for _, f := range failures {
		t.Run(f.code.String(), func(t *testing.T) {
			t.Parallel()
			addr := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { proxy.WriteError(w, r, f.failure) }), nil)
			client := dialGRPC(t, addr)
			_, err := client.UnaryCall(testContext(t), &testpb.SimpleRequest{})
			equal(t, "gRPC unary", status.Code(err), f.code)
			stream, err := client.FullDuplexCall(testContext(t))
			if err != nil {
				t.Fatal(err)
			}
			_, err = stream.Recv()
			equal(t, "gRPC stream", status.Code(err), f.code)
			text := status.Convert(err).Message()

			for protocol, opts := range map[string][]connecthttp.Option{
				"Connect": nil, "Connect JSON": {connecthttp.WithProtoJSON()}, "Connect GET": {connecthttp.WithHTTPGet()},
				"gRPC": {connecthttp.WithGRPC()}, "gRPC-Web": {connecthttp.WithGRPCWeb()},
			} {
				client := connect.NewClient(connecthttp.NewTransport(clientFor(t, h2c), "http://"+addr, opts...))
				err := client.CallUnary(testContext(t), unarySpec, wrapperspb.String("x"), &wrapperspb.StringValue{})
				checkConnectError(t, protocol+" unary", err, f.code, text)
				stream, err := client.CallServerStream(testContext(t), serverSpec, wrapperspb.String("x"))
				if err != nil {
					t.Fatal(err)
				}
				_, err = receiveAll(stream)
				checkConnectError(t, protocol+" stream", err, f.code, text)
			}
		})
	}
}

func checkConnectError(t *testing.T, what string, err error, code codes.Code, text string) {
	t.Helper()
	equal(t, what+" code", connect.CodeOf(err), connect.Code(code))
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("%s: text is %v, want %q", what, err, text)
	}
}

func TestWriteErrorInEachProtocol(t *testing.T) {
	t.Parallel()
	const (
		trailersOnly = ""
		message      = "a valid credential is required"
	)
	for _, c := range []struct {
		name, method, target, contentType, version string
		status                                     int
		sentType, body                             string
	}{
		{"gRPC", "POST", "/a.B/C", "application/grpc", "", 200, "application/grpc", trailersOnly},
		{"gRPC, codec", "POST", "/a.B/C", "application/grpc+json; x=y", "", 200, "application/grpc+json", trailersOnly},
		{"gRPC-Web", "POST", "/a.B/C", "application/grpc-web+proto", "", 200, "application/grpc-web+proto", trailersOnly},
		{"gRPC-Web text", "POST", "/a.B/C", "application/grpc-web-text", "", 200, "application/grpc-web-text", trailersOnly},
		{"gRPC, odd codec", "POST", "/a.B/C", "application/grpc+\"><script>", "", 200, "application/grpc", trailersOnly},
		{"Connect stream", "POST", "/a.B/C", "application/connect+json", "1", 200, "application/connect+json", frame(2, `{"error":`+unauthenticated+`}`)},
		{"Connect", "POST", "/a.B/C", "application/proto", "", 401, "application/json", unauthenticated},
		{"Connect JSON", "POST", "/a.B/C", "application/json", "1", 401, "application/json", unauthenticated},
		{"Connect GET", "GET", "/a.B/C?message=x&connect=v1", "", "", 401, "application/json", unauthenticated},
		{"plain", "GET", "/x", "", "", 401, "application/json", unauthenticated},
		{"plain, misleading", "GET", "/x?connect=v10", "application/grpcx", "", 401, "application/json", unauthenticated},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(c.method, c.target, nil)
			r.Header.Set("Content-Type", c.contentType)
			if c.version != "" {
				r.Header.Set("Connect-Protocol-Version", c.version)
			}
			w := httptest.NewRecorder()
			proxy.WriteError(w, r, proxy.InvalidCredential)
			equal(t, "status", w.Code, c.status)
			equal(t, "body", w.Body.String(), c.body)
			equal(t, "type", w.Header().Get("Content-Type"), c.sentType)
			equal(t, "caching", w.Header().Get("Cache-Control"), "no-store")
			if c.body == trailersOnly {
				equal(t, "status", w.Header()["Grpc-Status"], []string{"16"})
				equal(t, "message", w.Header()["Grpc-Message"], []string{message})
			}
		})
	}
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		failure      proxy.Failure
		preset, want []string
	}{
		{proxy.MissingCredential, nil, []string{"Bearer"}},
		{proxy.InvalidCredential, nil, []string{`Bearer error="invalid_token"`}},
		{proxy.InvalidCredential, []string{`Bearer resource_metadata="x"`}, []string{`Bearer resource_metadata="x"`}},
		{proxy.PermissionDenied, []string{`Bearer error="insufficient_scope"`}, []string{`Bearer error="insufficient_scope"`}},
		{proxy.PermissionDenied, nil, nil},
		{proxy.Unavailable, nil, nil},
	} {
		w := httptest.NewRecorder()
		if c.preset != nil {
			w.Header()["Www-Authenticate"] = c.preset
		}
		proxy.WriteError(w, httptest.NewRequest(http.MethodGet, "/", nil), c.failure)
		equal(t, "challenge", w.Header()["Www-Authenticate"], c.want)
	}
}

// The status of a failure in HTTP is that of Connect, or of plain HTTP.
func TestWriteErrorStatus(t *testing.T) {
	t.Parallel()
	for _, f := range failures {
		plain, rpc := httptest.NewRecorder(), httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		proxy.WriteError(plain, r, f.failure)
		r.Header.Set("Connect-Protocol-Version", "1")
		proxy.WriteError(rpc, r, f.failure)
		equal(t, "status", [2]int{plain.Code, rpc.Code}, [2]int{f.http, f.connect})
	}
}
