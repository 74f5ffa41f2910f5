package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	healthMethod = "/grpc.health.v1.Health/Check"
	// maxHealth is as much as is read of an answer in gRPC: a prefix, and a message
	// of one number.
	maxHealth = 64
	serving   = 1 // grpc.health.v1.HealthCheckResponse.SERVING
)

// unwell is an answer of an endpoint that is not the one that it was asked for. It
// has nothing in the endpoint's own words.
type unwell string

func (e unwell) Error() string { return string(e) }

// probe asks one endpoint. Each check has a connection of its own: one that is
// kept would not show that no other can be made.
type probe struct {
	upstream  Upstream
	connect   func(ctx context.Context, network string) (net.Conn, error)
	transport *http.Transport
}

func newProbe(u Upstream, address string) *probe {
	p := &probe{upstream: u, connect: u.dialer(address), transport: u.transport()}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) { return p.connect(ctx, network) }
	p.transport.DialContext, p.transport.DialTLSContext = dial, dial
	p.transport.DisableKeepAlives = true
	return p
}

// Probe asks the endpoint of u at address once whether it is well, as its
// HealthCheck says, within its Timeout. The error says why it is not, in the words of
// the edge.
func Probe(ctx context.Context, u Upstream, address string) error {
	if err := u.check(); err != nil {
		return err
	}
	p := newProbe(u, address)
	err := p.run(ctx)
	if err == nil {
		return nil
	}
	cause, _ := unhealthyBecause(err)
	return errors.New(cause)
}

// unhealthyBecause is diagnose for what a check finds.
func unhealthyBecause(err error) (cause, check string) {
	if e, ok := errors.AsType[unwell](err); ok {
		return string(e), "what the service itself says about it, or what health_check asks"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time", "that the service is not overloaded, or give the check more time"
	}
	return diagnose(err)
}

func (p *probe) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.upstream.HealthCheck.Timeout)
	defer cancel()
	defer p.transport.CloseIdleConnections()
	var err error
	switch p.upstream.HealthCheck.Kind {
	case HealthHTTP:
		err = p.http(ctx)
	case HealthGRPC:
		err = p.grpc(ctx)
	case HealthTCP:
		err = p.tcp(ctx)
	default:
		return nil
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // the network's error is its consequence
	}
	return err
}

func (p *probe) tcp(ctx context.Context) error {
	conn, err := p.connect(ctx, "tcp")
	if err != nil {
		return err
	}
	return conn.Close()
}

func (p *probe) http(ctx context.Context) error {
	res, err := p.ask(ctx, http.MethodGet, p.upstream.HealthCheck.Path, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return unwell(fmt.Sprintf("status %d", res.StatusCode))
	}
	return nil
}

// ask sends a request that has nothing of a client.
func (p *probe) ask(ctx context.Context, method, target string, body []byte) (*http.Response, error) {
	path, query, _ := strings.Cut(target, "?")
	u := &url.URL{Scheme: strings.Replace(p.upstream.URL.Scheme, "h2c", "http", 1), Host: p.upstream.URL.Host, Path: path, RawQuery: query}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "onbehalf-health-check")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/grpc+proto")
		r.Header.Set("Te", "trailers")
	}
	return p.transport.RoundTrip(r)
}

func (p *probe) grpc(ctx context.Context) error {
	var message []byte
	if service := p.upstream.HealthCheck.Service; service != "" {
		message = protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), service)
	}
	body := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	res, err := p.ask(ctx, http.MethodPost, healthMethod, append(body, message...))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return unwell(fmt.Sprintf("status %d in place of an answer in gRPC", res.StatusCode))
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxHealth))
	if err != nil {
		return err
	}
	status := res.Trailer.Get("Grpc-Status")
	if status == "" {
		status = res.Header.Get("Grpc-Status")
	}
	switch status {
	case "0":
	case "5":
		return unwell("the service is not known there (NOT_FOUND)")
	case "12":
		return unwell("grpc.health.v1.Health is not served there (UNIMPLEMENTED)")
	default:
		return unwell("the check failed in gRPC")
	}
	if healthOf(answer) != serving {
		return unwell("not SERVING")
	}
	return nil
}

// healthOf returns the status in an answer of one message, or 0.
func healthOf(answer []byte) uint64 {
	const prefix = 5 // a flag, that of compression, and a length
	if len(answer) < prefix || answer[0] != 0 || int(binary.BigEndian.Uint32(answer[1:prefix])) != len(answer)-prefix {
		return 0
	}
	status := uint64(0)
	for rest := answer[prefix:]; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return 0
		}
		rest = rest[n:]
		if number == 1 && kind == protowire.VarintType {
			if status, n = protowire.ConsumeVarint(rest); n < 0 {
				return 0
			}
		} else if n = protowire.ConsumeFieldValue(number, kind, rest); n < 0 {
			return 0
		}
		rest = rest[n:]
	}
	return status
}
