package enrichment

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"

	"github.com/onbehalf-dev/onbehalf/bff/enrich"
	"github.com/onbehalf-dev/onbehalf/bff/internal/netaddr"
)

// maxAnswer bounds the body of an answer, and its header, in bytes.
const maxAnswer = 64 << 10

var (
	errTooLong = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	errFormat  = errors.New("the answer is not JSON with workspace, roles and attributes and nothing else")
)

// Protocol is how an enricher is called.
type Protocol uint8

// The protocols: POST with JSON, and the service onbehalf.bff.v1.EnrichmentService.
const (
	HTTP Protocol = iota + 1
	Connect
	GRPC
)

// Remote says which enricher to call. URL and Protocol are required.
type Remote struct {
	// URL passes [CheckURL]. For Connect and gRPC the service is below its path.
	URL      string
	Protocol Protocol
	// RootCAs may vouch for an https URL; nil: those of the system.
	RootCAs *x509.CertPool
	// ClientCertificate is what the edge shows; nil: nothing.
	ClientCertificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)
}

// CheckURL says why raw is not where an enricher can be, or returns nil: it gives
// out roles, and over a network in clear anybody could.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "":
		return errors.New("is not a URL with a host; write one such as https://facts.internal/enrich")
	case u.Scheme != "https" && (u.Scheme != "http" || !netaddr.IsLoopback(u.Hostname())):
		return errors.New("is not https; write https, or http to the loopback interface")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("has a user, a query or a fragment; leave them out")
	default:
		return nil
	}
}

// Caller is an [enrich.Enricher] somewhere else. It is safe for concurrent use.
type Caller struct {
	transport *http.Transport
	enrich    func(ctx context.Context, in *enrich.Input) (*enrich.Output, error)
}

// NewCaller returns an enricher that calls r. It connects when it is first asked.
func NewCaller(r Remote) (*Caller, error) {
	if err := CheckURL(r.URL); err != nil {
		return nil, err
	}
	t := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: r.RootCAs, GetClientCertificate: r.ClientCertificate},
		TLSHandshakeTimeout:    5 * time.Second,
		MaxResponseHeaderBytes: maxAnswer,
		MaxConnsPerHost:        maxCalls,
		MaxIdleConnsPerHost:    maxCalls / 4,
		IdleConnTimeout:        90 * time.Second,
		DisableCompression:     true,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetUnencryptedHTTP2(r.Protocol == GRPC)
	t.Protocols.SetHTTP1(r.Protocol != GRPC)
	client := &http.Client{Transport: strict{t}}
	c := &Caller{transport: t}
	switch r.Protocol {
	case HTTP:
		c.enrich = post{client, r.URL}.enrich
	case Connect, GRPC:
		options := []connecthttp.Option{connecthttp.WithReadMaxBytes(maxAnswer)}
		if r.Protocol == GRPC {
			options = append(options, connecthttp.WithGRPC())
		}
		c.enrich = rpc{bffv1connect.NewEnrichmentServiceClient(connect.NewClient(connecthttp.NewTransport(client, r.URL, options...)))}.enrich
	default:
		return nil, errors.New("is unknown")
	}
	return c, nil
}

// Enrich implements [enrich.Enricher].
func (c *Caller) Enrich(ctx context.Context, in *enrich.Input) (*enrich.Output, error) {
	return c.enrich(ctx, in)
}

// Close closes the connections that are not in use. It never fails.
func (c *Caller) Close() error {
	c.transport.CloseIdleConnections()
	return nil
}

// strict fails for everything but a 200 of limited size. A redirect is not
// followed: the configuration says where the enricher is, and the one who answers
// there gets to name no other address, such as one that only the edge can reach.
type strict struct{ next *http.Transport }

func (s strict) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := s.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, statusError(res.StatusCode)
	}
	res.Body = http.MaxBytesReader(nil, res.Body, maxAnswer+1<<10) // and what a protocol adds
	return res, nil
}

// post asks with JSON.
type post struct {
	client *http.Client
	url    string
}

type jsonRequest struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Kind    string `json:"kind"`
	Tenant  string `json:"tenant,omitempty"`
	Session string `json:"session,omitempty"`
}

type jsonAnswer struct {
	Workspace  string            `json:"workspace"`
	Roles      []string          `json:"roles"`
	Attributes map[string]string `json:"attributes"`
}

func (p post) enrich(ctx context.Context, in *enrich.Input) (*enrich.Output, error) {
	body, err := json.Marshal(jsonRequest{in.Issuer, in.Subject, in.Kind, in.Tenant, in.Session})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	res, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxAnswer:
		return nil, errTooLong
	}
	return parse(data)
}

// parse reads an answer. One with other members is refused: who answers with
// scopes must not believe that they were added.
func parse(data []byte) (*enrich.Output, error) {
	var answer jsonAnswer
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&answer) != nil {
		return nil, errFormat // the error would repeat parts of it
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errFormat
	}
	return &enrich.Output{Workspace: answer.Workspace, Roles: answer.Roles, Attributes: answer.Attributes}, nil
}

// rpc asks with the service.
type rpc struct {
	client bffv1connect.EnrichmentServiceClient
}

func (r rpc) enrich(ctx context.Context, in *enrich.Input) (*enrich.Output, error) {
	res, err := r.client.Enrich(ctx, &bffv1.EnrichRequest{
		Issuer: in.Issuer, Subject: in.Subject, Kind: in.Kind, Tenant: in.Tenant, Session: in.Session,
	})
	if err != nil {
		return nil, err
	}
	return &enrich.Output{Workspace: res.GetWorkspace(), Roles: res.GetRoles(), Attributes: res.GetAttributes()}, nil
}
