package proxy_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	return conn
}

// rawHTTP1 sends a request as it is written and returns the response.
func rawHTTP1(t testing.TB, addr, request string) *http.Response {
	t.Helper()
	conn := dial(t, addr)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// dialHTTP2 sends one request with these fields and no body, and returns what
// the answer is read with. settings are the client's.
func dialHTTP2(t testing.TB, addr string, settings []http2.Setting, fields ...string) *http2.Framer {
	t.Helper()
	conn := dial(t, addr)
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings(settings...)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	return framer
}

// rawHTTP2 sends one gRPC request with this :path and returns the answer's
// header, or nil if the stream was reset.
func rawHTTP2(t testing.TB, addr, path string) map[string]string {
	t.Helper()
	framer := dialHTTP2(t, addr, nil, ":method", "POST", ":scheme", "http", ":authority", "edge", ":path", path,
		"content-type", "application/grpc", "te", "trailers")
	switch f := nextFrame(t, framer).(type) {
	case *http2.MetaHeadersFrame:
		got := make(map[string]string)
		for _, field := range f.Fields {
			got[field.Name] = field.Value
		}
		return got
	default:
		return nil
	}
}

// nextFrame returns the next frame that says what becomes of the stream.
func nextFrame(t testing.TB, framer *http2.Framer) http2.Frame { //nolint:ireturn // frames are an interface there
	t.Helper()
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f.(type) {
		case *http2.MetaHeadersFrame, *http2.DataFrame, *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return f
		}
	}
}
