package skew_test

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// soon is within what a revocation is everywhere.
const soon = time.Second

// revocations takes back a principal and a session, which has two streams that
// are open (R01): past the edge and through it, the next call is refused.
func revocations(t *testing.T, p *platform, front, orders *service) {
	t.Helper()
	token := p.provider.token(t, nil)
	made := p.ask(front.name, "/who", token)
	session := made.header.Get("Skew-Session")
	toFront := captured(t, p.ask("capture", "/front", token))
	toOrders := captured(t, p.ask("capture", "/orders", token))

	p.command("revoke", "principal", principalOf(t, toOrders))
	p.refused("a principal", orders, toOrders, "401 revoked unauthenticated")
	if got := p.present(front, "/who", toFront); got.status != http.StatusOK {
		t.Errorf("another principal of the session: %s", got)
	}
	if got := p.ask(front.name, "/call?next=http://"+orders.http+"/who", token); got.String() != allowed {
		t.Errorf("after one of its principals was revoked, a session has: %s", got)
	}

	web, rpc := p.openStream(front, token), p.watch(front, token)
	p.command("revoke", "session", session)
	revoked := time.Now()
	p.refused("a session", front, toFront, "401 revoked unauthenticated")
	for name, ended := range map[string]<-chan error{"HTTP": web, "gRPC": rpc} {
		select {
		case err := <-ended:
			if name == "gRPC" && status.Code(err) != codes.Unauthenticated {
				t.Errorf("the stream over %s ends with %v", name, err)
			}
			if d := time.Since(revoked); d > soon {
				t.Errorf("the stream over %s ends after %v", name, d)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("the stream over %s goes on", name)
		}
	}
	if got := p.ask(front.name, "/who", token); got.status != http.StatusUnauthorized || got.reason != "credential,revoked" {
		t.Errorf("a session that was revoked, at the edge: %s", got)
	}
}

// refused waits until an instance refuses a header, and fails if that is not soon.
func (p *platform) refused(what string, s *service, header, want string) {
	p.t.Helper()
	var got answer
	took := p.until(what+" is refused", func() bool { got = p.present(s, "/who", header); return got.status != http.StatusOK })
	if got.String() != want {
		p.t.Errorf("%s: %s, want %s", what, got, want)
	}
	if took > soon {
		p.t.Errorf("%s is refused after %v", what, took)
	}
}

// openStream has a stream over HTTP, through the edge, and tells when it ends.
func (p *platform) openStream(s *service, token string) <-chan error {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	p.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.public+"/stream", http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Host = s.name
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	begun := make([]byte, len("begun"))
	if _, err := io.ReadFull(res.Body, begun); err != nil || string(begun) != "begun" {
		p.t.Fatal("a stream does not begin: ", res.Status, err)
	}
	ended := make(chan error, 1)
	go func() {
		defer res.Body.Close()
		_, err := io.Copy(io.Discard, res.Body)
		ended <- err
	}()
	return ended
}

// watch is openStream over gRPC.
func (p *platform) watch(s *service, token string) <-chan error {
	p.t.Helper()
	conn, err := grpc.NewClient(p.public, grpc.WithAuthority(s.name), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	ctx := metadata.AppendToOutgoingContext(p.t.Context(), "authorization", "Bearer "+token)
	stream, err := healthv1.NewHealthClient(conn).Watch(ctx, &healthv1.HealthCheckRequest{})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		p.t.Fatal("a stream does not begin: ", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := stream.Recv()
		ended <- err
	}()
	return ended
}

// rotation has the edge sign with its next key, and then takes back the key that
// signed before, and the one of the service gateway.
func rotation(t *testing.T, p *platform, calls func()) {
	t.Helper()
	forger := newForger(p)
	chain := forger.link(forger.sign("gateway", nil), "orders", nil)
	token := p.provider.token(t, nil)
	before := captured(t, p.ask("capture", "/orders", token))
	first := keyOf(t, before)
	p.command("keys", "rotate")
	p.until("the next key signs", func() bool {
		return keyOf(t, captured(t, p.ask("capture", "/orders", p.provider.token(t, nil)))) != first
	})
	calls()
	for _, s := range p.services {
		if got := p.present(s, "/open"); got.String() != "200 anonymous" {
			t.Errorf("%s: %s", s.name, got)
		}
		if s.audience != "orders" {
			continue
		}
		if got := p.present(s, "/who", before); got.status != http.StatusOK {
			t.Errorf("%s, a header of the key before: %s", s.name, got)
		}
		if got := p.present(s, "/who", chain); got.status != http.StatusOK {
			t.Errorf("%s, a chain: %s", s.name, got)
		}
	}
	fresh := forger.link(forger.sign("gateway", nil), "orders", nil)
	p.command("keys", "revoke", "--", first)
	for _, s := range p.services {
		if s.audience == "orders" {
			p.refused("a key of the edge", s, before, "401 unknown_key unauthenticated")
			p.refused("a key of the edge that signed a chain", s, fresh, "401 unknown_key unauthenticated")
		}
	}
	calls()
}
