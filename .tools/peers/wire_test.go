package peers_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// field is one line of a header, as it is sent.
type field struct{ name, value string }

// request is sent as it is written here, whatever is wrong with it.
type request struct {
	method, path string
	fields       []field
	body         string // without a length of its own
}

// answer is what came back. Its code is 0 if the connection or stream was ended
// instead.
type answer struct {
	code   int
	header http.Header // with the trailer
	body   string
}

// send sends a request on a connection of its own, and reads the first answer.
func (f front) send(t *testing.T, r request) answer {
	t.Helper()
	a, err := f.exchange(t, r, 20*time.Second)
	if isTimeout(err) {
		t.Errorf("%s: %s %s: no answer", f.name, r.method, r.path)
	}
	return a
}

// attack is send for a request that may never be answered.
func (f front) attack(t *testing.T, r request) {
	t.Helper()
	_, _ = f.exchange(t, r, 500*time.Millisecond)
}

func (f front) exchange(t *testing.T, r request, within time.Duration) (answer, error) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	if f.proto == 2 {
		return two(conn, r)
	}
	return one(conn, r)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func one(conn net.Conn, r request) (answer, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: edge.peers\r\n", r.method, r.path)
	for _, f := range r.fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
	}
	b.WriteString("\r\n" + r.body)
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return answer{}, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	for name, values := range res.Trailer {
		res.Header[name] = append(res.Header[name], values...)
	}
	return answer{res.StatusCode, res.Header, string(body)}, err
}

func two(conn net.Conn, r request) (answer, error) {
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	fields := append([]field{{":method", r.method}, {":scheme", "http"}, {":authority", "edge.peers"}, {":path", r.path}}, r.fields...)
	for _, f := range fields {
		if err := enc.WriteField(hpack.HeaderField{Name: strings.ToLower(f.name), Value: f.value}); err != nil {
			return answer{}, err
		}
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return answer{}, err
	}
	err := errors.Join(framer.WriteSettings(),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}),
		framer.WriteData(1, true, []byte(r.body)))
	if err != nil {
		return answer{}, err
	}
	a := answer{header: make(http.Header)}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return answer{}, err
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			a.take(f)
		case *http2.DataFrame:
			a.body += string(f.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return a, nil
		}
		if err != nil || frame.Header().StreamID == 1 && frame.Header().Flags.Has(http2.FlagDataEndStream) {
			return a, err
		}
	}
}

func (a *answer) take(f *http2.MetaHeadersFrame) {
	if code := f.PseudoValue("status"); code != "" {
		_, _ = fmt.Sscan(code, &a.code)
	}
	for _, h := range f.RegularFields() {
		a.header.Add(h.Name, h.Value)
	}
}

// ok reports whether the request was answered by the upstream.
func (a answer) ok() bool { return a.code == http.StatusOK && a.header.Get("X-Seen-Path") != "" }

// escaped is a path that is unlike any other.
func escaped(name string) string { return url.PathEscape(strings.ReplaceAll(name, " ", "-")) }
