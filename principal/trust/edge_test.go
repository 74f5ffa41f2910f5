package trust_test

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1/trustv1connect"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

const (
	issuer = "https://edge.test"
	token  = "obe_canary-token"
	beat   = 100 * time.Millisecond
)

// edge is a small edge that really speaks the feed's protocol over HTTP/2, and
// does what a test tells it to.
type edge struct {
	t      testing.TB
	signer *principal.Signer
	server *httptest.Server

	mu       sync.Mutex
	sequence uint64
	keys     map[principal.KeyRef]principal.Key
	revoked  []*trustv1.Revocation
	log      []*trustv1.Event
	moved    chan struct{}
	tokens   map[string]bool
	life     time.Duration // of link keys
	quiet    bool          // no heartbeats
	watches  []*trustv1.WatchRequest
	reports  []uint64
	enrolled []*trustv1.EnrollKeyRequest
	issued   int
	issueFor string // instead of whoever asks
	nonces   map[string]bool
	pulls    int
	confirms int

	// What a test has the edge do instead, if not nil.
	onWatch   func(ctx context.Context, call int, send func(*trustv1.WatchResponse) error) error
	onEnroll  func(*trustv1.EnrollKeyRequest) error // before it is handled
	onAnswer  func() error                          // instead of the answer
	onConfirm func(context.Context) error
}

func newEdge(t testing.TB) *edge {
	t.Helper()
	return newEdgeOn(t, func(s *httptest.Server) {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	})
}

func newEdgeOn(t testing.TB, start func(*httptest.Server)) *edge {
	t.Helper()
	signer, err := principal.NewSigner(issuer, newKey(t), "")
	if err != nil {
		t.Fatal(err)
	}
	e := &edge{
		t: t, signer: signer, sequence: 100, keys: make(map[principal.KeyRef]principal.Key), moved: make(chan struct{}),
		tokens: map[string]bool{token: true}, life: time.Hour, nonces: make(map[string]bool),
	}
	e.keys[signer.Key().KeyRef] = signer.Key()
	mux := http.NewServeMux()
	rpc := connect.NewServer()
	trustv1connect.RegisterTrustFeedServiceHandler(rpc, e)
	connecthttp.Mount(mux, rpc)
	mux.HandleFunc("/.well-known/onbehalf/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.pulls++
		w.Write(e.jwks())
	})
	e.server = httptest.NewUnstartedServer(mux)
	e.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	start(e.server)
	t.Cleanup(func() {
		e.server.CloseClientConnections()
		e.server.Close()
	})
	return e
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (e *edge) jwks() []byte {
	all := make([]principal.Key, 0, len(e.keys))
	for _, key := range e.keys {
		all = append(all, key)
	}
	data, err := keyset.Marshal(all)
	if err != nil {
		e.t.Error(err)
	}
	return data
}

// do changes what the edge knows.
func (e *edge) do(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

// calls returns how often Watch was called.
func (e *edge) calls() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.watches)
}

// publish adds an event to the log and returns its sequence.
func (e *edge) publish(event *trustv1.Event) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.publishLocked(event)
}

func (e *edge) publishLocked(event *trustv1.Event) uint64 {
	event.Previous = e.sequence
	e.sequence++
	event.Sequence = e.sequence
	for _, r := range event.GetRevocations() {
		r.Sequence = e.sequence
		e.revoked = append(e.revoked, r)
		if k := r.GetTarget().GetKey(); k != nil {
			delete(e.keys, principal.KeyRef{Role: principal.KeyRole(k.GetRole()), Owner: k.GetOwner(), ID: k.GetId()})
		}
	}
	e.log = append(e.log, event)
	close(e.moved)
	e.moved = make(chan struct{})
	return e.sequence
}

func (e *edge) revoke(targets ...revocation.Target) uint64 {
	event := new(trustv1.Event)
	for _, t := range targets {
		event.Revocations = append(event.Revocations, &trustv1.Revocation{Target: t.Proto()})
	}
	return e.publish(event)
}

// addKey publishes a key.
func (e *edge) addKey(key principal.Key) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.addKeyLocked(key)
}

func (e *edge) addKeyLocked(key principal.Key) uint64 {
	e.keys[key.KeyRef] = key
	data, err := keyset.Marshal([]principal.Key{key})
	if err != nil {
		e.t.Error(err)
	}
	return e.publishLocked(&trustv1.Event{Keys: data})
}

func (e *edge) removeKey(ref principal.KeyRef) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.keys, ref)
	return e.publishLocked(&trustv1.Event{RemovedKeys: []*trustv1.KeyRef{{Role: trustv1.KeyRole(ref.Role), Owner: ref.Owner, Id: ref.ID}}})
}

func (e *edge) snapshot() *trustv1.Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	return &trustv1.Snapshot{
		Issuer: issuer, Sequence: e.sequence, Keys: e.jwks(), Revocations: slices.Clone(e.revoked), Heartbeat: durationpb.New(beat),
	}
}

func snapshotOf(s *trustv1.Snapshot) *trustv1.WatchResponse {
	return &trustv1.WatchResponse{Message: &trustv1.WatchResponse_Snapshot{Snapshot: s}}
}

func eventOf(e *trustv1.Event) *trustv1.WatchResponse {
	return &trustv1.WatchResponse{Message: &trustv1.WatchResponse_Event{Event: e}}
}

func (e *edge) Watch(ctx context.Context, r *trustv1.WatchRequest, stream trustv1connect.TrustFeedServiceWatchServerStream) error {
	took := time.Now()
	e.mu.Lock()
	e.watches = append(e.watches, r)
	call, hook, at := len(e.watches), e.onWatch, r.GetSequence()
	known := at != 0 && at <= e.sequence
	e.mu.Unlock()
	if hook != nil {
		return hook(ctx, call, stream.Send)
	}
	if !known {
		s := e.snapshot()
		s.Elapsed = durationpb.New(time.Since(took))
		if err := stream.Send(snapshotOf(s)); err != nil {
			return err
		}
		at = s.GetSequence()
	}
	return e.follow(ctx, took, at, stream.Send)
}

// follow sends what comes after a sequence, and heartbeats.
func (e *edge) follow(ctx context.Context, took time.Time, at uint64, send func(*trustv1.WatchResponse) error) error {
	for {
		e.mu.Lock()
		var next []*trustv1.Event
		for _, event := range e.log {
			if event.GetSequence() > at {
				next = append(next, proto.CloneOf(event))
			}
		}
		moved, quiet := e.moved, e.quiet
		e.mu.Unlock()
		for _, event := range next {
			at = event.GetSequence()
			event.Elapsed = durationpb.New(time.Since(took))
			if err := send(eventOf(event)); err != nil {
				return err
			}
		}
		if len(next) > 0 {
			continue
		}
		timer := time.NewTimer(beat)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-moved:
		case <-timer.C:
			if !quiet {
				if err := send(eventOf(&trustv1.Event{Previous: at, Sequence: at, Elapsed: durationpb.New(time.Since(took))})); err != nil {
					return err
				}
			}
		}
		timer.Stop()
	}
}

func (e *edge) Report(_ context.Context, r *trustv1.ReportRequest) (*trustv1.ReportResponse, error) {
	e.do(func() { e.reports = append(e.reports, r.GetSequence()) })
	return &trustv1.ReportResponse{}, nil
}

func (e *edge) Confirm(ctx context.Context, _ *trustv1.ConfirmRequest) (*trustv1.ConfirmResponse, error) {
	e.mu.Lock()
	e.confirms++
	hook, sequence := e.onConfirm, e.sequence
	e.mu.Unlock()
	if hook != nil {
		if err := hook(ctx); err != nil {
			return nil, err
		}
	}
	return &trustv1.ConfirmResponse{Sequence: sequence}, nil
}

var errDenied = connect.NewError(connect.CodePermissionDenied, "this is not the service that it says")

func (e *edge) EnrollKey(ctx context.Context, r *trustv1.EnrollKeyRequest) (*trustv1.EnrollKeyResponse, error) {
	e.mu.Lock()
	hook := e.onEnroll
	e.enrolled = append(e.enrolled, r)
	e.mu.Unlock()
	if hook != nil {
		if err := hook(r); err != nil {
			return nil, err
		}
	}
	public, err := parseKey(r.GetPublicKey())
	if err != nil {
		return nil, errDenied
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !public.VerifyProof(trust.EnrollMessageForTest(trust.EnrollTagForTest, r.GetService(), r.GetPublicKey()), r.GetProof()) || !e.authentic(ctx, r) {
		return nil, errDenied
	}
	key := principal.Key{
		KeyRef: principal.KeyRef{Role: principal.RoleLink, Owner: r.GetService(), ID: public.ID()}, Public: public,
		NotAfter: time.Now().Add(e.life).Truncate(time.Second),
	}
	sequence := e.addKeyLocked(key)
	if e.onAnswer != nil {
		return nil, e.onAnswer()
	}
	return &trustv1.EnrollKeyResponse{KeyId: key.ID, Sequence: sequence, ExpiresAt: key.NotAfter.Unix()}, nil
}

func parseKey(der []byte) (*principal.PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	return principal.NewPublicKey(key)
}

// authentic is by the certificate, the token or the key before.
func (e *edge) authentic(ctx context.Context, r *trustv1.EnrollKeyRequest) bool {
	if info, ok := connecthttp.ServerInfoForContext(ctx); ok {
		if state := info.TLS(); state != nil && len(state.PeerCertificates) > 0 {
			return state.PeerCertificates[0].Subject.CommonName == r.GetService()
		}
	}
	if renewal := r.GetRenewal(); renewal != nil {
		old, ok := e.keys[principal.KeyRef{Role: principal.RoleLink, Owner: r.GetService(), ID: renewal.GetKeyId()}]
		return ok && old.Public.VerifyProof(trust.EnrollMessageForTest(trust.RenewTagForTest, r.GetService(), r.GetPublicKey()), renewal.GetSignature())
	}
	good := e.tokens[r.GetToken()]
	delete(e.tokens, r.GetToken())
	return good
}

// signed reports whether bare was signed with a key that the service has enrolled.
func (e *edge) signed(service string, s *trustv1.Signed, bare proto.Message) bool {
	message, err := trust.IssueMessageForTest(s, bare)
	key, ok := e.keys[principal.KeyRef{Role: principal.RoleLink, Owner: service, ID: s.GetKeyId()}]
	skew := time.Since(time.Unix(s.GetTime(), 0)).Abs()
	if err != nil || !ok || !key.Public.VerifyProof(message, s.GetSignature()) || skew > 30*time.Second || e.nonces[string(s.GetNonce())] {
		return false
	}
	e.nonces[string(s.GetNonce())] = true
	return true
}

func (e *edge) IssuePrincipal(_ context.Context, r *trustv1.IssuePrincipalRequest) (*trustv1.IssuePrincipalResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := r.GetSigned()
	r.Signed = nil
	if !e.signed(r.GetService(), s, r) {
		return nil, errDenied
	}
	e.issued++
	who := principaltest.Service(cmp.Or(e.issueFor, r.GetService()), "reports:write")
	return &trustv1.IssuePrincipalResponse{Header: []byte(e.headerLocked(r.GetService(), who))}, nil
}

// RenewPrincipal knows one session.
func (e *edge) RenewPrincipal(_ context.Context, r *trustv1.RenewPrincipalRequest) (*trustv1.RenewPrincipalResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := r.GetSigned()
	r.Signed = nil
	if !e.signed(r.GetService(), s, r) || len(r.GetHeader()) == 0 {
		return nil, errDenied
	}
	return &trustv1.RenewPrincipalResponse{Header: []byte(e.headerLocked(r.GetService(), human(1)))}, nil
}

// header signs p for an audience.
func (e *edge) header(audience string, p *principalv1.Principal) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.headerLocked(audience, p)
}

func (e *edge) headerLocked(audience string, p *principalv1.Principal) string {
	p = proto.CloneOf(p)
	p.Audience, p.MaxLinks, p.Presenter = audience, 6, "bff"
	p.IssuedAt = time.Now().Unix()
	p.ExpiresAt = p.IssuedAt + 300
	p.RevocationSequence = e.sequence
	header, err := e.signer.Sign(p)
	if err != nil {
		e.t.Error(err)
	}
	return header
}

// human is somebody in a session that can be revoked.
func human(session byte) *principalv1.Principal {
	p := principaltest.Human("orders:read")
	p.SessionId = make([]byte, 16)
	p.SessionId[0] = session
	return p
}

func sessionOf(session byte) revocation.Target {
	return revocation.Session(issuer, principal.ID{session})
}

func sessionOfID(id principal.ID) revocation.Target { return revocation.Session(issuer, id) }
