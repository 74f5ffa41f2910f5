package bff_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

// holding is an upstream that holds requests for /…/hold until they end.
func holding(t *testing.T) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/hold") {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	})
}

// hold makes a request that stays under way until it is ended.
func (e *edge) hold(path, token string) (end func()) {
	e.t.Helper()
	return e.holdFrom("", path, token)
}

// holdFrom is hold, behind a proxy that says for whom.
func (e *edge) holdFrom(address, path, token string) (end func()) {
	e.t.Helper()
	ctx, cancel := context.WithCancel(e.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.public+path+"/hold", nil)
	if err != nil {
		e.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if address != "" {
		req.Header.Set("X-Forwarded-For", address)
	}
	res, err := e.client.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		e.t.Fatal(err, res)
	}
	return func() {
		cancel()
		res.Body.Close()
	}
}

// method is one of a service that no route need know.
const method = "/shop.orders.v1.Orders/Get"

// callGRPC makes a call as a client of gRPC does.
func (e *edge) callGRPC(token string) error {
	e.t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(e.public, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		e.t.Fatal(err)
	}
	defer conn.Close()
	ctx := e.t.Context()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	return conn.Invoke(ctx, method, new(emptypb.Empty), new(emptypb.Empty))
}

// callConnect makes a call in Connect, gRPC or gRPC-Web, unary or as a stream.
func (e *edge) callConnect(stream bool, opts ...connecthttp.Option) error {
	e.t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client := connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, e.public, opts...))
	if !stream {
		return client.CallUnary(e.t.Context(), connect.Spec{Procedure: method, StreamType: connect.StreamTypeUnary}, new(emptypb.Empty), new(emptypb.Empty))
	}
	s, err := client.CallServerStream(e.t.Context(), connect.Spec{Procedure: method, StreamType: connect.StreamTypeServer}, new(emptypb.Empty))
	if err != nil {
		return err
	}
	return s.Receive(new(emptypb.Empty))
}

// service adds a route that takes the calls of callGRPC and callConnect.
const service = "  - {service: shop.orders.v1.Orders, upstream: \"%[2]s\", audience: orders}\n"

// A flood of requests that nobody vouches for cannot crowd out those with a
// credential that is known, and each is told in its protocol.
func TestOverload(t *testing.T) {
	t.Parallel()
	e := start(t, setup{handler: holding(t), extra: service + "limits: {requests: 5, client_requests: 5}\n"})
	alice, fresh := e.provider.token("alice", nil), e.provider.token("bob", nil)
	e.get("/relay", alice)
	ends := make([]func(), 0, 5)
	for range 4 {
		ends = append(ends, e.hold("/public", ""))
	}
	refused := 0
	for name, token := range map[string]string{"none": "", "one that was not verified": fresh, "a bad one": "garbage"} {
		for _, path := range []string{"/relay", "/optional", "/public", "/nowhere"} {
			res := e.do(http.MethodGet, path, token, nil)
			refused++
			if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") != "1" || !strings.Contains(res.Body, "too many requests") {
				t.Errorf("%s, %s: %v %q", name, path, res.Status, res.Body)
			}
		}
	}
	if code := status.Code(e.callGRPC(fresh)); code != codes.Unavailable {
		t.Error("gRPC:", code)
	}
	refused++
	for name, opt := range map[string]connecthttp.Option{
		"Connect": connecthttp.WithProtoJSON(), "gRPC": connecthttp.WithGRPC(), "gRPC-Web": connecthttp.WithGRPCWeb(),
	} {
		for _, stream := range []bool{false, true} {
			if code := connect.CodeOf(e.callConnect(stream, opt)); code != connect.CodeUnavailable {
				t.Errorf("%s, stream %t: %v", name, stream, code)
			}
			refused++
		}
	}
	e.get("/relay", alice) // has a place of the reserve
	ends = append(ends, e.hold("/relay", alice))
	if res := e.do(http.MethodGet, "/relay", alice, nil); res.StatusCode != http.StatusServiceUnavailable {
		t.Error("more than there are places:", res.Status)
	}
	refused++
	for _, end := range ends {
		end()
	}
	eventually(t, "there is room again", func() bool { return e.do(http.MethodGet, "/public", "", nil).StatusCode == http.StatusOK })
	e.get("/relay", fresh)

	counted := 0
	for _, r := range e.records() {
		if r.text("reason") == "overload" {
			var omitted int
			fmt.Sscan(r.text("omitted"), &omitted)
			counted += 1 + omitted
			if r.text("decision") != "refused" || r.text("detail") != "limits.requests" {
				t.Error(r)
			}
		}
	}
	if counted < refused || counted > refused+100_000 {
		t.Errorf("records of %d requests, want at least %d", counted, refused)
	}
}

// Who is turned away takes no place, however slowly it takes the answer; and it
// is answered before its body comes.
func TestOverloadBeforeTheBody(t *testing.T) {
	t.Parallel()
	e := start(t, setup{handler: holding(t), extra: "limits: {requests: 1}\n"})
	end := e.hold("/public", "")
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(protocol == "HTTP/1.1")
		transport.Protocols.SetUnencryptedHTTP2(protocol != "HTTP/1.1")
		defer transport.CloseIdleConnections()
		body, in := io.Pipe() // nothing ever comes
		defer in.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.public+"/public", body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := transport.RoundTrip(req)
		if err != nil {
			t.Error(protocol, err)
			continue
		}
		res.Body.Close()
		if res.StatusCode != http.StatusServiceUnavailable || res.Proto != protocol {
			t.Error(res.Proto, res.Status)
		}
	}
	end()
	eventually(t, "there is room again", func() bool { return e.do(http.MethodGet, "/public", "", nil).StatusCode == http.StatusOK })
}

// One upstream that hangs does not take the places of the others.
func TestRequestsOfARoute(t *testing.T) {
	t.Parallel()
	e := start(t, setup{handler: holding(t), extra: "  - {path_prefix: /slow, upstream: \"%[2]s\", auth: none, max_requests: 2}\n"})
	ends := []func(){e.hold("/slow", ""), e.hold("/slow", "")}
	if res := e.do(http.MethodGet, "/slow", "", nil); res.StatusCode != http.StatusServiceUnavailable {
		t.Error(res.Status)
	}
	e.get("/public", "")
	for _, end := range ends {
		end()
	}
	eventually(t, "there is room again", func() bool { return e.do(http.MethodGet, "/slow", "", nil).StatusCode == http.StatusOK })
	for _, r := range e.records() {
		if r.text("reason") == "overload" && (r.text("detail") != "max_requests of the route" || r.text("route") != "/slow") {
			t.Error(r)
		}
	}
}

// counting is an authenticator that counts how often it is asked to verify.
type counting struct{ verified *atomic.Int64 }

func (counting) CredentialHeaders() []string { return []string{"X-Api-Key"} }

func (c counting) Authenticate(_ context.Context, h http.Header) (*authn.Result, error) {
	if h.Get("X-Api-Key") == "" {
		return nil, authn.ErrNoCredential
	}
	c.verified.Add(1)
	return nil, &authn.Error{Reason: authn.ReasonSignature}
}

// Guessing credentials ends soon, and is not what keeps the edge busy; those who
// were let in before go on, from the same address too.
func TestFailedCredentials(t *testing.T) {
	t.Parallel()
	var verified atomic.Int64
	e := start(t, setup{
		handler: holding(t), extra: service + "limits: {failed_credentials: 3}\n",
		options: []bff.Option{bff.WithAuthenticator(counting{&verified})},
	})
	alice, fresh := e.provider.token("alice", nil), e.provider.token("bob", nil)
	e.get("/relay", alice)
	try := func(what, path, token string, want int) {
		t.Helper()
		if res := e.do(http.MethodGet, path, token, nil); res.StatusCode != want {
			t.Errorf("%s: %s, want %d", what, res.Status, want)
		}
	}
	guess := func(i int) *reply {
		return e.do(http.MethodGet, "/relay", "", http.Header{"X-Api-Key": {strconv.Itoa(i)}})
	}
	for i := range 3 {
		if res := guess(i); res.StatusCode != http.StatusUnauthorized {
			t.Fatal(i, res.Status)
		}
	}
	before := verified.Load()
	for i := range 20 {
		res := guess(100 + i)
		if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "60" || !strings.Contains(res.Body, "too many invalid credentials") {
			t.Fatal(res.Status, res.Body)
		}
	}
	if n := verified.Load() - before; n != 0 {
		t.Errorf("%d guesses were verified", n)
	}
	if code := status.Code(e.callGRPC(fresh)); code != codes.ResourceExhausted {
		t.Error("gRPC:", code)
	}
	try("not known yet", "/relay", fresh, http.StatusTooManyRequests)
	try("known", "/relay", alice, http.StatusOK)
	try("known, on a route where it is optional", "/optional", alice, http.StatusOK)
	try("none, where it is optional", "/optional", "", http.StatusOK)
	try("none, where it is required", "/relay", "", http.StatusUnauthorized)
	try("a route that looks at none", "/public", "garbage", http.StatusOK)

	e.clock.advance(90 * time.Second) // after the mint window, too
	for i := range 4 {
		guess(200 + i)
	}
	try("known, and to be verified anew", "/relay", alice, http.StatusOK)
	try("not known yet, again", "/relay", fresh, http.StatusTooManyRequests)
	e.clock.advance(time.Minute)
	try("later", "/relay", fresh, http.StatusOK)

	for _, r := range e.records() {
		if r.text("reason") == "limited" && (r.text("detail") != "limits.failed_credentials for 127.0.0.1/32" ||
			r.text("decision") != "refused" || r.text("credential_reason") != "") {
			t.Error(r)
		}
	}
}

// Behind a proxy that is trusted, each client counts for itself, and none can
// have another locked out by naming it.
func TestFailedCredentialsBehindAProxy(t *testing.T) {
	t.Parallel()
	for _, trusted := range []bool{true, false} {
		extra := "limits: {failed_credentials: 2}\n"
		if trusted {
			extra += "trusted_proxies: [127.0.0.1]\n"
		}
		e := start(t, setup{extra: extra})
		from := func(forwarded string) int {
			h := http.Header{}
			if forwarded != "" {
				h.Set("X-Forwarded-For", forwarded)
			}
			return e.do(http.MethodGet, "/relay", "garbage", h).StatusCode
		}
		for _, forged := range []string{"203.0.113.9", "203.0.113.10"} { // what the attacker sent stands before what the proxy added
			from(forged + ", 203.0.113.1")
		}
		if got := from("203.0.113.11, 203.0.113.1"); got != http.StatusTooManyRequests {
			t.Errorf("trusted %t: the attacker: %d", trusted, got)
		}
		want := http.StatusTooManyRequests // without trust it is the same peer
		if trusted {
			want = http.StatusUnauthorized
		}
		for _, other := range []string{"203.0.113.2", "203.0.113.9", ""} {
			if got := from(other); got != want {
				t.Errorf("trusted %t: %q: %d", trusted, other, got)
			}
		}
	}
}

// Slowloris: a body that comes a byte a minute, on a route that is open to all.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	e := start(t, setup{
		extra: "limits: {body_timeout: 1s}\n", realTime: true,
		handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }),
	})
	if got := e.raw("POST /public HTTP/1.1\nHost: edge.test\nContent-Length: 100\n\na"); got != http.StatusRequestTimeout {
		t.Error("HTTP/1.1:", got)
	}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	body, in := io.Pipe()
	defer in.Close()
	go io.WriteString(in, "a")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.public+"/public", body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestTimeout {
		t.Error("HTTP/2:", res.Status)
	}
	for _, r := range e.records() {
		if r.text("reason") != "slow" || r.text("status") != "408" {
			t.Error(r)
		}
	}
}

// A refused request whose body does not come does not keep its connection.
func TestRefusedSlowBody(t *testing.T) {
	t.Parallel()
	e := start(t, setup{realTime: true})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(e.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /relay HTTP/1.1\r\nHost: edge.test\r\nContent-Length: 100\r\n\r\na"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Fatal(err, res)
	}
	if _, err := io.Copy(io.Discard, io.MultiReader(res.Body, in)); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Error("the connection was kept for", took)
	}
}

// Answers of the edge itself do not lie here for ever for clients that take
// nothing.
func TestRefusalsThatNobodyTakes(t *testing.T) {
	t.Parallel()
	e := start(t, setup{extra: "limits: {take_timeout: 1s}\n", realTime: true})
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, conn)
	if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	const streams = 100
	for i := range uint32(streams) {
		block.Reset()
		for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/linked"}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // to memory
		}
		err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for ended := 0; ended < streams; {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(ended, err)
		}
		if _, reset := frame.(*http2.RSTStreamFrame); reset {
			ended++
		}
	}
}

// P06: the edge's own answers too must be taken, one after the other.
func TestAnswersThatNobodyTakes(t *testing.T) {
	t.Parallel()
	e := start(t, setup{extra: "limits: {take_timeout: 1s}\n", options: []bff.Option{bff.WithClock(time.Now)}, realTime: true})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(e.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = io.WriteString(conn, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	if isTimeout(err) {
		t.Error("the connection is kept")
	}
}
