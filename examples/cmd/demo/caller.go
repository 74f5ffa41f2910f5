package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/onbehalf-dev/onbehalf/examples/provider"
	ordersv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/orders/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/stack"
	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// caller makes calls as a client outside, and as an attacker inside.
type caller struct {
	stack  *stack.Stack
	wire   *tap
	seen   *decisions
	conn   *grpc.ClientConn
	orders ordersv1.OrderServiceClient
}

func newCaller(s *stack.Stack, wire *tap, seen *decisions) (*caller, error) {
	conn, err := grpc.NewClient(strings.TrimPrefix(s.Edge, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &caller{stack: s, wire: wire, seen: seen, conn: conn, orders: ordersv1.NewOrderServiceClient(conn)}, nil
}

func (c *caller) close() error { return c.conn.Close() }

var allScopes = []string{"ledger:read", "ledger:write", "orders:read", "orders:write", "payments:read", "payments:write"}

// as returns a context with an access token that the provider issues.
func (c *caller) as(ctx context.Context, user string, actors ...string) (context.Context, error) {
	token, err := c.stack.Provider.Token(provider.TokenRequest{User: user, Actors: actors, Scopes: allScopes})
	if err != nil {
		return nil, err
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token), nil
}

// get makes a plain HTTP request through the edge.
func (c *caller) get(ctx context.Context, path, token string) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.stack.Edge+path, nil)
	if err != nil {
		return err.Error()
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return answerTo(r)
}

// present calls a method of a service directly with a header, as somebody would
// who has got into the network behind the edge.
func (c *caller) present(ctx context.Context, url, header string) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return err.Error()
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(principal.HeaderName, principal.EncodeHeader(header))
	return answerTo(r)
}

func answerTo(r *http.Request) string {
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }() // it has been read
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, body))
}

// answer is what a gRPC client gets to see.
func answer(err error, format string, args ...any) string {
	if err != nil {
		return status.Code(err).String() + ": " + status.Convert(err).Message()
	}
	return fmt.Sprintf(format, args...)
}

// tap listens in on the way from payments to the ledger.
type tap struct {
	next   http.RoundTripper
	mu     sync.Mutex
	header string
}

// RoundTrip implements [http.RoundTripper].
func (t *tap) RoundTrip(r *http.Request) (*http.Response, error) {
	t.mu.Lock()
	t.header = r.Header.Get(principal.HeaderName)
	t.mu.Unlock()
	return t.next.RoundTrip(r)
}

// stolen is the last header that went by.
func (t *tap) stolen() (*principalv1.SignedPrincipal, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	raw, err := decode(t.header)
	if err != nil {
		return nil, err
	}
	var signed principalv1.SignedPrincipal
	if err := proto.Unmarshal(raw, &signed); err != nil {
		return nil, err
	}
	if len(signed.GetLinks()) == 0 {
		return nil, errors.New("no header with links has gone by")
	}
	return &signed, nil
}

// truncated is the stolen header without its last link.
func (t *tap) truncated() (string, error) {
	signed, err := t.stolen()
	if err != nil {
		return "", err
	}
	signed.Links = signed.GetLinks()[:len(signed.GetLinks())-1]
	header, err := proto.Marshal(signed)
	return string(header), err
}

// forged is a principal for payments that an attacker signed with a key of its
// own, under the id of the key that signed the stolen one.
func (t *tap) forged() (string, error) {
	signed, err := t.stolen()
	if err != nil {
		return "", err
	}
	var p principalv1.Principal
	if err := proto.Unmarshal(signed.GetAuthority().GetPayload(), &p); err != nil {
		return "", err
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return "", err
	}
	signer, err := principal.NewSigner(p.GetIssuer(), key, signed.GetAuthority().GetKeyId())
	if err != nil {
		return "", err
	}
	p.Audience, p.Commitment, p.Roles = "payments", nil, []string{"admin"}
	return signer.Sign(&p)
}
