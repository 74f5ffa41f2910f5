package proxy_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// A13: whatever an upstream echoes, in whatever place, nothing of ours comes
// out.
func TestA13ResponseHeadersAndTrailers(t *testing.T) {
	t.Parallel()
	leaky := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for _, name := range []string{"X-Principal-Bin", "X_Principal_Bin", "x.principal", "Grpc-Metadata-X-Principal-Bin", "Trailer-X-Principal-Bin"} {
			h[name] = []string{"leak"}
		}
		h.Set("X-Principal-Reason", "audience")
		h.Set("X-Request-Id", "theirs")
		h.Set("Alt-Svc", `h3=":1"`)
		h.Set("Kept", "header")
		h.Set("Trailer", "X-Principal-Bin, Kept-Announced")
		if r.URL.Path == "/trailers" {
			_, _ = io.WriteString(w, "body")
		}
		h.Set("X-Principal-Bin", "leak")
		h.Set("Kept-Announced", "trailer")
		h.Set(http.TrailerPrefix+"X_Principal_Bin", "leak")
		h.Set(http.TrailerPrefix+"Kept-Unannounced", "trailer")
	})
	for in, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "h2c": h2c} {
		for _, out := range []string{"http", "h2c"} {
			for _, path := range []string{"/api", "/public", "/trailers"} {
				t.Run(in+" to "+out+path, func(t *testing.T) {
					t.Parallel()
					e := startEdge(t, upstreamAt(out, listen(t, leaky, nil)), proxy.Options{})
					res := get(t, clientFor(t, set), e, path, "TE", "trailers")
					if _, err := io.ReadAll(res.Body); err != nil {
						t.Fatal(err)
					}
					noAliases(t, res.Header, res.Trailer)
					equal(t, "kept", res.Header.Get("Kept"), "header")
					equal(t, "x-request-id", res.Header["X-Request-Id"], []string{"req_1"})
					equal(t, "Alt-Svc", res.Header["Alt-Svc"], nil)
					equal(t, "reason", wait(t, e.outcomes, "outcome").Reason, "audience")
					if path == "/trailers" {
						equal(t, "announced trailer", res.Trailer.Get("Kept-Announced"), "trailer")
						equal(t, "unannounced trailer", res.Trailer.Get("Kept-Unannounced"), "trailer")
					}
				})
			}
		}
	}
}

func TestA13InformationalResponses(t *testing.T) {
	t.Parallel()
	up := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Principal-Bin", "leak")
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("X-Principal-Bin", "leak")
		w.WriteHeader(http.StatusOK)
	}), nil)
	for in, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "h2c": h2c} {
		for _, out := range []string{"http", "h2c"} {
			t.Run(in+" to "+out, func(t *testing.T) {
				t.Parallel()
				e := startEdge(t, upstreamAt(out, up), proxy.Options{})
				e.call = func(w http.ResponseWriter, r *http.Request) (*http.Request, proxy.Call) {
					w.Header().Set("Strict-Transport-Security", "max-age=1")
					return r, proxy.Call{RequestID: "req_1"}
				}
				var hints []textproto.MIMEHeader
				ctx := httptrace.WithClientTrace(testContext(t), &httptrace.ClientTrace{
					Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
						hints = append(hints, h)
						return nil
					},
				})
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.addr+"/api", nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := clientFor(t, set).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if len(hints) != 1 || hints[0].Get("Link") == "" {
					t.Fatalf("hints: %v", hints)
				}
				noAliases(t, hints...)
				noAliases(t, res.Header)
				equal(t, "what the edge sets", [][]string{res.Header["X-Request-Id"], res.Header["Strict-Transport-Security"]}, [][]string{{"req_1"}, {"max-age=1"}})
			})
		}
	}
}

// The trailers of Connect's streams and of gRPC-Web are in the body.
func TestA13TrailersInTheBody(t *testing.T) {
	t.Parallel()
	const (
		connectType = "application/connect+json"
		webType     = "application/grpc-web+proto"
		textType    = "application/grpc-web-text+proto"
		end         = `{"error":{"code":"unauthenticated"},"metadata":{"X_Principal-Bin":["leak"],"kept":["yes"],"x-principal-reason":["time"]}}`
		endClean    = `{"error":{"code":"unauthenticated"},"metadata":{"kept":["yes"]}}`
		web         = "grpc-status: 16\r\nx-principal-bin: leak\r\nkept: yes\r\nx-principal-reason:time\r\n"
		webClean    = "grpc-status: 16\r\nkept: yes\r\n"
	)
	hello := frame(0, "hello")
	broken := frame(2, `{"error":{"code":"unavailable","message":"the service is unavailable, try again later"}}`)
	brokenWeb := frame(0x80, "grpc-status: 14\r\ngrpc-message: the service is unavailable, try again later\r\n")
	for _, c := range []struct {
		name, contentType, coding, body, want, reason string
	}{
		{"Connect", connectType, "", hello + frame(2, end), hello + frame(2, endClean), "time"},
		{"Connect, only the end", connectType, "", frame(2, end), frame(2, endClean), "time"},
		{"Connect, gzip", connectType, "gzip", frame(1, zip("x")) + frame(3, zip(end)), frame(1, zip("x")) + frame(2, endClean), "time"},
		{"Connect, gzip, nothing to remove", connectType, "gzip", frame(3, zip(endClean)), frame(3, zip(endClean)), ""},
		{"Connect, nothing to remove", connectType, "", hello + frame(2, "{ }"), hello + frame(2, "{ }"), ""},
		{"Connect, not JSON", connectType, "", frame(2, "x-principal"), frame(2, "x-principal"), ""},
		{"Connect, a message like an end", connectType, "", frame(0, end) + frame(2, "{}"), frame(0, end) + frame(2, "{}"), ""},
		{"Connect, unknown coding", connectType, "br", hello + frame(3, end), hello + broken, ""},
		{"Connect, not gzip", connectType, "gzip", hello + frame(3, end), hello + broken, ""},
		{"Connect, bomb", connectType, "gzip", hello + frame(3, zip(strings.Repeat(" ", 1<<20))), hello + broken, ""},
		{"Connect, oversize", connectType, "", hello + frame(2, strings.Repeat(" ", 1<<17)), hello + broken, ""},
		{"Connect, truncated end", connectType, "", hello + frame(2, end)[:20], hello + broken, ""},
		{"Connect, more after the end", connectType, "", frame(2, endClean) + hello, frame(2, endClean), ""},
		{"gRPC-Web", webType, "", hello + frame(0x80, web), hello + frame(0x80, webClean), "time"},
		{"gRPC-Web, gzip", webType, "gzip", hello + frame(0x81, zip(web)), hello + frame(0x80, webClean), "time"},
		{"gRPC-Web, nothing to remove", webType, "", frame(0x80, webClean), frame(0x80, webClean), ""},
		{"gRPC-Web as text", textType, "", text(hello + frame(0x80, web)), hello + frame(0x80, webClean), "time"},
		{"gRPC-Web as text, in pieces", textType, "", text(hello) + text(frame(0x80, web)), hello + frame(0x80, webClean), "time"},
		{"gRPC-Web as text, the end in pieces", textType, "", text(frame(0x80, web)[:7]) + text(frame(0x80, web)[7:]), frame(0x80, webClean), "time"},
		{"gRPC-Web as text, gzip", textType, "gzip", text(hello + frame(0x81, zip(web))), hello + frame(0x80, webClean), "time"},
		{"gRPC-Web as text, nothing to remove", textType, "", text(frame(0x80, webClean)), frame(0x80, webClean), ""},
		{"gRPC-Web as text, not base64", textType, "", text(hello) + "!!!!", hello + brokenWeb, ""},
		{"gRPC-Web as text, cut off", textType, "", text(hello) + "gAA", hello + brokenWeb, ""},
		{"gRPC-Web, truncated end", webType, "", frame(0x80, web)[:9], brokenWeb, ""},
	} {
		for pace, write := range map[string]func(http.ResponseWriter, string){"at once": writeAll, "byte by byte": writeBytes} {
			t.Run(c.name+" "+pace, func(t *testing.T) {
				t.Parallel()
				e := startEdge(t, upstreamAt("h2c", listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", c.contentType)
					w.Header().Set("Content-Length", strconv.Itoa(len(c.body)))
					w.Header().Set("Connect-Content-Encoding", c.coding)
					w.Header().Set("Grpc-Encoding", c.coding)
					write(w, c.body)
				}), nil)), proxy.Options{})
				res := post(t, clientFor(t, h2c), e, "/api/stream", c.contentType)
				got, err := io.ReadAll(res.Body)
				if err != nil {
					t.Fatal(err)
				}
				if c.contentType == textType {
					got = untext(t, got)
				}
				equal(t, "body", string(got), c.want)
				equal(t, "reason", wait(t, e.outcomes, "outcome").Reason, c.reason)
			})
		}
	}
}

func text(body string) string { return base64.StdEncoding.EncodeToString([]byte(body)) }

// untext decodes text that may be padded before its end.
func untext(t *testing.T, b []byte) []byte {
	t.Helper()
	var out []byte
	for ; len(b) > 0; b = b[4:] {
		group, err := base64.StdEncoding.DecodeString(string(b[:min(4, len(b))]))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, group...)
	}
	return out
}

func writeAll(w http.ResponseWriter, body string) { _, _ = io.WriteString(w, body) }

func writeBytes(w http.ResponseWriter, body string) {
	if len(body) > 1000 {
		writeAll(w, body)
		return
	}
	for i := range len(body) {
		_, _ = io.WriteString(w, body[i:i+1])
		_ = http.NewResponseController(w).Flush()
	}
}

func zip(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

// What the end of a stream may be compressed with is what it can be read in.
func TestOfferedEncodings(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	e := startEdge(t, upstreamAt("h2c", listen(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }), nil)), proxy.Options{})
	client := clientFor(t, h2c)
	for _, c := range []struct{ contentType, name, offered, want, acceptEncoding string }{
		{"application/connect+proto", "Connect-Accept-Encoding", "br, gzip, zstd", "gzip", ""},
		{"application/connect+proto", "Connect-Accept-Encoding", "br", "", ""},
		{"application/grpc-web", "Grpc-Accept-Encoding", "identity,GZIP", "gzip", ""},
		{"application/grpc", "Grpc-Accept-Encoding", "br, gzip", "br, gzip", "zstd"},
		{"application/proto", "Accept-Encoding", "zstd", "zstd", "zstd"},
	} {
		post(t, client, e, "/api", c.contentType, c.name, c.offered, "Accept-Encoding", "zstd")
		h := wait(t, got, "request")
		equal(t, c.contentType, [2]string{h.Get(c.name), h.Get("Accept-Encoding")}, [2]string{c.want, c.acceptEncoding})
	}
}

// The reason is the upstream's word: only a plain word goes into the record.
func TestReason(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"unknown_key": "unknown_key", strings.Repeat("a", 32): strings.Repeat("a", 32),
		"": "", strings.Repeat("a", 33): "", "Kind": "", "kind 1": "", "a\tb": "", "a,b": "", `"}{"`: "",
	} {
		e := startEdge(t, upstreamAt("http", listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Principal-Reason", value)
		}), nil)), proxy.Options{})
		get(t, clientFor(t, http1), e, "/api")
		equal(t, value, wait(t, e.outcomes, "outcome").Reason, want)
	}
}

// A response that broke off is not taken for a complete one.
func TestUpstreamBreaksOff(t *testing.T) {
	t.Parallel()
	unavailable := "grpc-status: 14\r\ngrpc-message: the service is unavailable, try again later\r\n"
	for _, c := range []struct {
		name, contentType, sent, want string
		complete                      bool
	}{
		{"gRPC", "application/grpc", frame(0, "a"), frame(0, "a"), true},
		{"gRPC-Web", "application/grpc-web", frame(0, "a"), frame(0, "a") + frame(0x80, unavailable), true},
		{"gRPC-Web within a message", "application/grpc-web", frame(0, "abc")[:6], "", false},
		{"plain", "text/plain", "abc", "", false},
		{"server-sent events", "text/event-stream", "data: 1\n\n", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seen := make(chan struct{})
			e := startEdge(t, upstreamAt("h2c", listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.contentType)
				writeAll(w, c.sent)
				_ = http.NewResponseController(w).Flush()
				<-seen
				panic(http.ErrAbortHandler)
			}), nil)), proxy.Options{})
			res := post(t, clientFor(t, h2c), e, "/api", c.contentType)
			body := bufio.NewReader(res.Body)
			_, _ = body.Peek(len(c.sent))
			close(seen)
			got, err := io.ReadAll(body)
			if (err == nil) != c.complete {
				t.Fatalf("%q, %v", got, err)
			}
			if c.complete {
				equal(t, "body", string(got), c.want)
			}
			if c.name == "gRPC" {
				equal(t, "status", res.Trailer.Get("Grpc-Status"), "14")
			}
		})
	}
}

// WebSocket passes where it is allowed, with the principal and without ours in
// the answer; it ends with its authority.
func TestWebSocket(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	up := upstreamAt("http", listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Principal-Bin: leak\r\n\r\n")
		_, _ = io.Copy(conn, rw)
	}), nil))
	up.WebSocket = true
	e := startEdge(t, up, proxy.Options{})
	revoke := revocable(e)
	conn := dial(t, e.addr)
	_, _ = io.WriteString(conn, request("/api/ws", "Connection: Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key: x"))
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", res.StatusCode, http.StatusSwitchingProtocols)
	noAliases(t, res.Header)
	h := wait(t, got, "request")
	equal(t, "request", []string{h.Get("X-Principal-Bin"), h.Get("Sec-WebSocket-Key")}, []string{minted, "x"})
	_, _ = io.WriteString(conn, "ping\n")
	if line, err := r.ReadString('\n'); line != "ping\n" {
		t.Fatalf("%q, %v", line, err)
	}
	wait(t, revoke, "request")(proxy.ErrEnded)
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
	if out := wait(t, e.outcomes, "outcome"); !out.Ended || out.Status != http.StatusSwitchingProtocols {
		t.Errorf("outcome %+v", out)
	}
}

// Over a protocol that was switched to, a client that has said all, and closes its
// half of the connection, still hears the upstream out; also where the upstream has
// several endpoints.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	for name, endpoints := range map[string]bool{"upstream": false, "endpoints": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := listen(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				said, _ := io.ReadAll(rw)
				_, _ = io.WriteString(conn, "heard: "+string(said))
			}), nil)
			up := upstreamAt("http", address)
			if endpoints {
				up = severalAt("http", address)
			}
			up.WebSocket = true
			e := startEdge(t, up, proxy.Options{})
			conn := dial(t, e.addr)
			_, _ = io.WriteString(conn, request("/api/ws", "Connection: Upgrade", "Upgrade: websocket"))
			r := bufio.NewReader(conn)
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "status", res.StatusCode, http.StatusSwitchingProtocols)
			_, _ = io.WriteString(conn, "all")
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			heard, err := io.ReadAll(r)
			equal(t, "answer", string(heard), "heard: all")
			if err != nil {
				t.Error(err)
			}
			wait(t, e.outcomes, "outcome")
		})
	}
}

// FuzzLastFrame: however a body is cut into frames and reads, no name of ours
// gets through its trailers, and the rest does.
func FuzzLastFrame(f *testing.F) {
	f.Add("hello", "x-principal-bin", "kept", uint8(3))
	f.Add("", "X_Principal.Reason", "x", uint8(1))
	f.Fuzz(func(t *testing.T, message, name, value string, step uint8) {
		metadata, err := json.Marshal(map[string]map[string][]string{"metadata": {name: {value}, "kept": {"yes"}}})
		if err != nil || step == 0 {
			return
		}
		body := frame(0, message) + frame(2, string(metadata))
		got, reason := proxy.ThroughConnect(body, int(step))
		var end struct {
			Metadata map[string][]string `json:"metadata"`
		}
		rest, ok := strings.CutPrefix(got, frame(0, message))
		if !ok || json.Unmarshal([]byte(rest[5:]), &end) != nil {
			t.Fatalf("%q became %q", body, got)
		}
		noAliases(t, end.Metadata)
		if name != "kept" {
			equal(t, "kept", end.Metadata["kept"], []string{"yes"})
		}
		if strings.Trim(reason, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("reason %q", reason)
		}
	})
}
