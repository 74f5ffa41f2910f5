package bff_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
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

// door is one way into an edge.
type door struct {
	name      string
	two, safe bool // HTTP/2, TLS
}

var doors = []door{
	{name: "HTTP/1.1"},
	{name: "HTTP/1.1 with TLS", safe: true},
	{name: "h2", two: true, safe: true},
	{name: "h2c", two: true},
}

// site is an edge with one door that is tried.
type site struct {
	*edge
	door

	roots *x509.CertPool
}

// eachDoor runs a test once for each way in, each time with an edge of its own.
func eachDoor(t *testing.T, s setup, test func(t *testing.T, s *site)) {
	t.Helper()
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t, d, s))
		})
	}
}

func open(t *testing.T, d door, s setup) *site {
	t.Helper()
	if !d.safe {
		return &site{edge: start(t, s), door: d}
	}
	cert, key := certificate(t, t.TempDir(), "edge")
	s.extra += fmt.Sprintf("tls: {cert: %q, key: %q}\n", cert, key)
	e := start(t, s)
	roots := pool(t, cert)
	e.public = strings.Replace(e.public, "http", "https", 1)
	e.client.Transport = &http.Transport{
		DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	return &site{edge: e, door: d, roots: roots}
}

// dial connects to the public listener, for at most 20 seconds.
func (s *site) dial() net.Conn {
	s.t.Helper()
	u, err := url.Parse(s.public)
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(s.t.Context(), "tcp", u.Host)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	if !s.safe {
		return conn
	}
	protocol := "http/1.1"
	if s.two {
		protocol = "h2"
	}
	secure := tls.Client(conn, &tls.Config{
		RootCAs: s.roots, ServerName: "127.0.0.1", NextProtos: []string{protocol}, MinVersion: tls.VersionTLS12,
	})
	if err := secure.HandshakeContext(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if got := secure.ConnectionState().NegotiatedProtocol; got != protocol {
		s.t.Fatalf("protocol %q, want %q", got, protocol)
	}
	return secure
}

// field is one line of a header, as it is sent; in HTTP/2 its name in lower case.
type field struct{ name, value string }

// wire is a request that is sent as it is written here, whatever is wrong with
// it.
type wire struct {
	method, path string // default: GET
	version      string // default: HTTP/1.1
	host         string // default: edge.test; "-" sends none
	fields       []field
	verbatim     bool // fields hold their own framing, and names in HTTP/2 keep their case
	body         string
	trailer      []field
}

// answer is what came back. Its code is 0 if the connection or the stream was
// ended instead.
type answer struct {
	code   int
	header http.Header // with the trailer, and informational ones
	body   string
}

// text is all of it that could hold a secret.
func (a *answer) text() string {
	var b strings.Builder
	if err := a.header.Write(&b); err != nil {
		return err.Error()
	}
	return b.String() + a.body
}

// send sends a request on a connection of its own and returns its answer.
func (s *site) send(r wire) answer {
	s.t.Helper()
	conn := s.dial()
	defer conn.Close()
	if r.method == "" {
		r.method = http.MethodGet
	}
	if r.host == "" {
		r.host = "edge.test"
	}
	exchange := r.one
	if s.two {
		exchange = r.two
	}
	a, err := exchange(conn)
	if isTimeout(err) {
		s.t.Errorf("%s: %s %s: no answer", s.name, r.method, r.path)
	}
	return a
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// message is the request in HTTP/1.1.
func (r *wire) message() string {
	var b strings.Builder
	version := r.version
	if version == "" {
		version = "HTTP/1.1"
	}
	fmt.Fprintf(&b, "%s %s %s\r\n", r.method, r.path, version)
	if r.host != "-" {
		fmt.Fprintf(&b, "Host: %s\r\n", r.host)
	}
	for _, f := range r.fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
	}
	switch {
	case r.verbatim:
		b.WriteString("\r\n" + r.body)
	case len(r.trailer) > 0:
		fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n", len(r.body), r.body)
		for _, f := range r.trailer {
			fmt.Fprintf(&b, "%s: %s\r\n", f.name, f.value)
		}
		b.WriteString("\r\n")
	case r.body != "":
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

func (r *wire) one(conn net.Conn) (answer, error) {
	if _, err := io.WriteString(conn, r.message()); err != nil {
		return answer{}, err
	}
	return readOne(bufio.NewReader(conn), r.method)
}

func readOne(br *bufio.Reader, method string) (answer, error) {
	a := answer{header: make(http.Header)}
	for {
		res, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return a, err
		}
		body, err := io.ReadAll(res.Body)
		for _, h := range []http.Header{res.Header, res.Trailer} {
			for name, values := range h {
				a.header[name] = append(a.header[name], values...)
			}
		}
		a.body += string(body)
		if a.code = res.StatusCode; err != nil || a.code >= http.StatusOK || a.code == http.StatusSwitchingProtocols {
			return a, err
		}
	}
}

// stream is a connection of HTTP/2 on the side of the client.
type stream struct {
	*http2.Framer

	conn  net.Conn
	block bytes.Buffer
	enc   *hpack.Encoder
}

// begin sends the preface. Each field is encoded in full, so that a block means
// the same on any connection.
func begin(conn net.Conn) (*stream, error) {
	c := &stream{Framer: http2.NewFramer(conn, conn), conn: conn}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	return c, c.WriteSettings()
}

func (c *stream) encode(fields []field, verbatim bool) ([]byte, error) {
	c.block.Reset()
	for _, f := range fields {
		name := f.name
		if !verbatim {
			name = strings.ToLower(name)
		}
		if err := c.enc.WriteField(hpack.HeaderField{Name: name, Value: f.value, Sensitive: true}); err != nil {
			return nil, err
		}
	}
	return c.block.Bytes(), nil
}

// pseudo are the fields of a request that come first, unless it has its own.
func (r *wire) pseudo() []field {
	if r.verbatim && len(r.fields) > 0 && strings.HasPrefix(r.fields[0].name, ":") {
		return nil
	}
	list := []field{{":method", r.method}, {":scheme", "https"}, {":path", r.path}}
	if r.host != "-" {
		list = append(list, field{":authority", r.host})
	}
	return list
}

func (r *wire) two(conn net.Conn) (answer, error) {
	c, err := begin(conn)
	if err != nil {
		return answer{}, err
	}
	if err := c.request(1, r); err != nil {
		return answer{}, err
	}
	return c.answer(1)
}

// request sends a whole request.
func (c *stream) request(id uint32, r *wire) error {
	block, err := c.encode(append(r.pseudo(), r.fields...), r.verbatim)
	if err != nil {
		return err
	}
	last := r.body == "" && len(r.trailer) == 0
	err = c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: last})
	if err != nil || last {
		return err
	}
	if err := c.WriteData(id, len(r.trailer) == 0, []byte(r.body)); err != nil || len(r.trailer) == 0 {
		return err
	}
	block, err = c.encode(r.trailer, r.verbatim)
	if err != nil {
		return err
	}
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: true})
}

// answer reads until a stream has ended.
func (c *stream) answer(id uint32) (answer, error) {
	a := answer{header: make(http.Header)}
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return answer{}, err
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = c.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			a.take(f)
		case *http2.DataFrame:
			a.body += string(f.Data())
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			a.body += fmt.Sprint(f)
			return a, nil
		}
		if err != nil || frame.Header().StreamID == id && frame.Header().Flags.Has(http2.FlagDataEndStream) {
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
