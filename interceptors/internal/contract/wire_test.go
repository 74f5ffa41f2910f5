package contract_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// protocol is how a request speaks to a server. Requests are written by hand,
// so that headers arrive exactly as a case has them.
type protocol string

const (
	connectProtocol protocol = "connect"
	grpcProtocol    protocol = "grpc"
	grpcWebProtocol protocol = "grpc-web"
	plainProtocol   protocol = "plain"
)

var rpcProtocols = []protocol{connectProtocol, grpcProtocol, grpcWebProtocol}

// outcome is what a caller is told.
type outcome struct {
	code    principal.Code
	message string
	reason  string
}

// peer is a client over HTTP/2.
type peer struct {
	protocol protocol
	client   *http.Client
	base     string
	trailer  http.Header // of requests
}

// newPeer returns a client of srv, with TLS if config is not nil.
func newPeer(t testing.TB, srv *server, p protocol, config *tls.Config) *peer {
	t.Helper()
	transport := &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return srv.dial(ctx) },
		TLSClientConfig: config,
		Protocols:       new(http.Protocols),
	}
	base := "http://server.test"
	if config == nil {
		transport.Protocols.SetUnencryptedHTTP2(true)
	} else {
		transport.Protocols.SetHTTP2(true)
		base = "https://server.test"
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &peer{protocol: p, client: &http.Client{Transport: transport}, base: base}
}

// exchange is a call that goes on.
type exchange struct {
	peer     *peer
	shape    shape
	requests *io.PipeWriter
	response chan answer
	answer   *answer
	got      *http.Response
	body     *bufio.Reader
	end      *outcome
}

type answer struct {
	response *http.Response
	err      error
}

func (p *peer) open(ctx context.Context, s shape, header http.Header) (*exchange, error) {
	in, out := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+s.procedure(), in)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	req.Trailer = p.trailer
	switch p.protocol {
	case grpcProtocol:
		req.Header.Set("Content-Type", "application/grpc+proto")
		req.Header.Set("Te", "trailers")
	case grpcWebProtocol:
		req.Header.Set("Content-Type", "application/grpc-web+proto")
	case connectProtocol:
		req.Header.Set("Connect-Protocol-Version", "1")
		req.Header.Set("Content-Type", "application/connect+proto")
		if s == unary {
			req.Header.Set("Content-Type", "application/proto")
		}
	case plainProtocol:
	}
	e := &exchange{peer: p, shape: s, requests: out, response: make(chan answer, 1)}
	go func() {
		response, err := p.client.Do(req)
		e.response <- answer{response, err}
	}()
	return e, nil
}

func (e *exchange) send(m string) error {
	if e.peer.protocol == plainProtocol {
		_, err := fmt.Fprintln(e.requests, m)
		return err
	}
	data, err := proto.Marshal(wrapperspb.String(m))
	if err != nil {
		return err
	}
	if !e.bare() {
		data = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...)
	}
	_, err = e.requests.Write(data)
	return err
}

// bare reports whether messages stand without a prefix.
func (e *exchange) bare() bool { return e.peer.protocol == connectProtocol && e.shape == unary }

func (e *exchange) closeSend() { _ = e.requests.Close() }

var errEnd = errors.New("the call has ended")

// wait waits for the header of the response.
func (e *exchange) wait() error {
	if e.answer == nil {
		a := <-e.response
		if e.answer = &a; a.err == nil {
			e.got, e.body = a.response, bufio.NewReader(a.response.Body)
		}
	}
	return e.answer.err
}

// receive returns a message, or [errEnd].
func (e *exchange) receive() (string, error) {
	if e.end != nil {
		return "", errEnd
	}
	if err := e.wait(); err != nil {
		return "", err
	}
	if e.got.StatusCode != http.StatusOK || e.bare() && e.got.Header.Get("Content-Type") != "application/proto" {
		return "", e.ends(e.refusal())
	}
	if e.peer.protocol == plainProtocol {
		line, err := e.body.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return "", e.ends(outcome{}, nil)
		}
		return strings.TrimSuffix(line, "\n"), err
	}
	if e.bare() {
		data, err := io.ReadAll(e.body)
		if err != nil {
			return "", err
		}
		e.end = &outcome{}
		return decode(data)
	}
	var prefix [5]byte
	if _, err := io.ReadFull(e.body, prefix[:]); errors.Is(err, io.EOF) {
		return "", e.ends(e.fromTrailer())
	} else if err != nil {
		return "", err
	}
	data := make([]byte, binary.BigEndian.Uint32(prefix[1:]))
	if _, err := io.ReadFull(e.body, data); err != nil {
		return "", fmt.Errorf("a message is cut: %w", err)
	}
	switch prefix[0] {
	case 0:
		return decode(data)
	case 2:
		return "", e.ends(endOfStream(data))
	case 0x80:
		return "", e.ends(webTrailer(data))
	}
	return "", fmt.Errorf("a message with flags %#x", prefix[0])
}

func decode(data []byte) (string, error) {
	var v wrapperspb.StringValue
	err := proto.Unmarshal(data, &v)
	return v.GetValue(), err
}

// ends notes the outcome; nothing may follow it.
func (e *exchange) ends(o outcome, err error) error {
	if err != nil {
		return err
	}
	rest, err := io.ReadAll(e.body)
	if err != nil {
		return fmt.Errorf("after the end of the call: %w", err)
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes follow the end of the call", len(rest))
	}
	e.end = &o
	return errEnd
}

// finish reads to the end.
func (e *exchange) finish() (messages []string, o outcome, err error) {
	for {
		m, err := e.receive()
		if errors.Is(err, errEnd) {
			return messages, *e.end, nil
		}
		if err != nil {
			return messages, outcome{}, err
		}
		messages = append(messages, m)
	}
}

// close gives the call up.
func (e *exchange) close() {
	_ = e.requests.Close()
	if e.wait() == nil {
		_ = e.got.Body.Close()
	}
}

// refusal reads a response that is nothing but an error.
func (e *exchange) refusal() (outcome, error) {
	data, err := io.ReadAll(e.body)
	if err != nil {
		return outcome{}, err
	}
	o := outcome{reason: e.got.Header.Get(principal.ReasonHeaderName)}
	switch e.peer.protocol {
	case connectProtocol:
		return connectError(data, o)
	case plainProtocol:
		codes := map[int]principal.Code{401: principal.CodeUnauthenticated, 403: principal.CodePermissionDenied, 500: principal.CodeInternal, 503: principal.CodeUnavailable}
		o.code, o.message = codes[e.got.StatusCode], strings.TrimSuffix(string(data), "\n")
		return o, nil
	default:
		return outcome{}, statusError(e.got.StatusCode)
	}
}

// statusError is a refusal by the HTTP stack, before any protocol.
type statusError int

func (s statusError) Error() string { return "HTTP status " + strconv.Itoa(int(s)) }

func connectError(data []byte, o outcome) (outcome, error) {
	var e struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return outcome{}, err
	}
	codes := map[string]principal.Code{
		"unauthenticated": principal.CodeUnauthenticated, "permission_denied": principal.CodePermissionDenied,
		"failed_precondition": principal.CodeFailedPrecondition, "unavailable": principal.CodeUnavailable, "internal": principal.CodeInternal,
	}
	code, known := codes[e.Code]
	if !known {
		return outcome{}, fmt.Errorf("unexpected error %q: %q", e.Code, e.Message)
	}
	o.code, o.message = code, e.Message
	return o, nil
}

func endOfStream(data []byte) (outcome, error) {
	var end struct {
		Error    json.RawMessage     `json:"error"`
		Metadata map[string][]string `json:"metadata"`
	}
	if err := json.Unmarshal(data, &end); err != nil || end.Error == nil {
		return outcome{}, err
	}
	header := http.Header{}
	for name, values := range end.Metadata {
		header[http.CanonicalHeaderKey(name)] = values
	}
	return connectError(end.Error, outcome{reason: header.Get(principal.ReasonHeaderName)})
}

func webTrailer(data []byte) (outcome, error) {
	header, err := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(data), strings.NewReader("\r\n")))).ReadMIMEHeader()
	if err != nil {
		return outcome{}, err
	}
	return grpcStatus(http.Header(header))
}

// fromTrailer reads the end of a gRPC response, which may also stand where a
// response without messages has its header.
func (e *exchange) fromTrailer() (outcome, error) {
	for _, h := range []http.Header{e.got.Trailer, e.got.Header} {
		if h.Get("Grpc-Status") != "" {
			return grpcStatus(h)
		}
	}
	return outcome{}, fmt.Errorf("the response ends without a status: %v %v", e.got.Header, e.got.Trailer)
}

func grpcStatus(h http.Header) (outcome, error) {
	if len(h.Values("Grpc-Status")) != 1 {
		return outcome{}, fmt.Errorf("grpc-status: %q", h.Values("Grpc-Status"))
	}
	code, err := strconv.Atoi(h.Get("Grpc-Status"))
	return outcome{code: principal.Code(code), message: h.Get("Grpc-Message"), reason: h.Get(principal.ReasonHeaderName)}, err
}

// call makes a call with two messages, or one where the method takes one, and
// returns what the server echoed.
func (p *peer) call(ctx context.Context, s shape, header http.Header) (echoed []string, o outcome, err error) {
	e, err := p.open(ctx, s, header)
	if err != nil {
		return nil, outcome{}, err
	}
	defer e.close()
	go func() { // a refused call may not read them
		_ = e.send("one")
		if s == clientStream || s == bidi {
			_ = e.send("two")
		}
		e.closeSend()
	}()
	return e.finish()
}
