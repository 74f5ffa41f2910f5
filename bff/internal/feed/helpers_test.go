package feed_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/proto"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1/trustv1connect"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/internal/feed"
	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

const (
	issuer      = "https://edge.test"
	trustDomain = "mesh:test"
	spiffe      = "spiffe://test/"
)

type client = trustv1connect.TrustFeedServiceClient

// logs is what was logged.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// edge is one with a real store, whose clock is the real one and what a test adds
// to it.
type edge struct {
	*feed.Server

	t     *testing.T
	ahead atomic.Int64
	logs  logs
	dir   string
	state *state.State
	store *faulty
	url   string

	static []principal.Key
	signer atomic.Pointer[principal.Signer]
	stop   func() // all of it
}

// faulty is a store that can fail.
type faulty struct {
	*store.Store

	broken   atomic.Bool
	external atomic.Bool
}

func (f *faulty) External() bool { return f.external.Load() }

func (f *faulty) Pulse(ctx context.Context) (uint64, error) {
	if f.broken.Load() {
		return 0, store.ErrUnavailable
	}
	return f.Store.Pulse(ctx)
}

func (f *faulty) Put(ctx context.Context, name string, value []byte) (uint64, error) {
	if f.broken.Load() {
		return 0, store.ErrUnavailable
	}
	return f.Store.Put(ctx, name, value)
}

func (f *faulty) CreateUntil(ctx context.Context, name string, value []byte, end time.Time) (uint64, error) {
	if f.broken.Load() {
		return 0, store.ErrUnavailable
	}
	return f.Store.CreateUntil(ctx, name, value, end)
}

func (e *edge) now() time.Time          { return time.Now().Add(time.Duration(e.ahead.Load())) }
func (e *edge) advance(d time.Duration) { e.ahead.Add(int64(d)) }

func newEdge(t *testing.T, change ...func(*edge, *feed.Options)) *edge {
	t.Helper()
	e := &edge{t: t, dir: t.TempDir()}
	e.start(change...)
	return e
}

// start may be called again after stop.
func (e *edge) start(change ...func(*edge, *feed.Options)) {
	e.t.Helper()
	log := slog.New(slog.NewTextHandler(&e.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	st, err := store.Open(e.t.Context(), store.Settings{Dir: e.dir, Logger: log})
	if err != nil {
		e.t.Fatal(err)
	}
	e.store = &faulty{Store: st}
	options := feed.Options{TrustDomain: trustDomain, Logger: log, Now: e.now, Heartbeat: 100 * time.Millisecond}
	for _, f := range change {
		f(e, &options)
	}
	e.state = state.New(e.store, state.Options{Issuer: issuer, Static: e.static, Logger: log, Now: e.now})
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- e.state.Run(ctx) }()
	if err := e.state.Ready(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	e.Server = feed.New(e.state, options)
	server := httptest.NewUnstartedServer(e.Handler())
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Config.Protocols.SetHTTP1(true)
	server.Start()
	e.url = server.URL
	e.stop = sync.OnceFunc(func() {
		server.CloseClientConnections()
		server.Config.Close()
		server.Close()
		cancel()
		if err := <-ended; err != nil {
			e.t.Error(err)
		}
		if err := st.Close(); err != nil {
			e.t.Error(err)
		}
	})
	e.t.Cleanup(e.stop)
}

// dial returns a client with a connection of its own.
func (e *edge) dial(options ...connecthttp.Option) client { //nolint:ireturn // it is what there is
	return e.dialWith(&http.HTTP2Config{}, options...)
}

// dialSmall returns a client that takes little without being read.
func (e *edge) dialSmall() client { //nolint:ireturn // it is what there is
	return e.dialWith(&http.HTTP2Config{MaxReceiveBufferPerConnection: 64 << 10, MaxReceiveBufferPerStream: 64 << 10})
}

func (e *edge) dialWith(config *http.HTTP2Config, options ...connecthttp.Option) client { //nolint:ireturn // it is what there is
	transport := &http.Transport{Protocols: new(http.Protocols), HTTP2: config}
	transport.Protocols.SetUnencryptedHTTP2(true)
	e.t.Cleanup(transport.CloseIdleConnections)
	return trustv1connect.NewTrustFeedServiceClient(connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, e.url, options...)))
}

func instance() []byte {
	id := make([]byte, 16)
	rand.Read(id)
	return id
}

// following is a Watch, read message by message.
type following struct {
	trustv1connect.TrustFeedServiceWatchClientStream

	t *testing.T
}

func watch(ctx context.Context, t *testing.T, c client, r *trustv1.WatchRequest) following {
	t.Helper()
	if r.Instance == nil {
		r.Instance = instance()
	}
	stream, err := c.Watch(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stream.Close() })
	return following{stream, t}
}

func (f following) next() *trustv1.WatchResponse {
	f.t.Helper()
	m, err := f.Receive()
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// snapshot reads all parts.
func (f following) snapshot() *trustv1.Snapshot {
	f.t.Helper()
	whole := new(trustv1.Snapshot)
	for {
		part := f.next().GetSnapshot()
		if part == nil {
			f.t.Fatal("no snapshot")
		}
		proto.Merge(whole, part)
		if !part.GetMore() {
			whole.More = false
			return whole
		}
	}
}

// event reads the next one with content. Heartbeats in between must not leave a
// gap, or go back.
func (f following) event(at uint64) *trustv1.Event {
	f.t.Helper()
	for {
		e := f.next().GetEvent()
		if e == nil || e.GetPrevious() > at || e.GetSequence() < at {
			f.t.Fatalf("at %d: %v", at, e)
		}
		at = e.GetSequence()
		if len(e.GetRevocations())+len(e.GetRemovedKeys())+len(e.GetKeys()) > 0 {
			return e
		}
	}
}

func session(n int) *trustv1.Target {
	return revocation.Session(issuer, principal.ID{byte(n), byte(n >> 8), byte(n >> 16)}).Proto()
}

func (e *edge) revoke(target *trustv1.Target) uint64 {
	e.t.Helper()
	sequence, err := e.Revoke(e.t.Context(), target, "lost")
	if err != nil {
		e.t.Fatal(err)
	}
	return sequence
}

func (e *edge) token(service string) string {
	e.t.Helper()
	token, _, err := e.CreateToken(e.t.Context(), service, 0)
	if err != nil {
		e.t.Fatal(err)
	}
	return token
}

// link is the link key of a service.
type link struct {
	service string
	private crypto.Signer
	der     []byte
	id      string
}

func newLink(t *testing.T, service string) link {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return linkOf(t, service, private)
}

func linkOf(t *testing.T, service string, private crypto.Signer) link {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	public, err := principal.NewPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return link{service: service, private: private, der: der, id: public.ID()}
}

func (l link) sign(tag string, of link) []byte {
	sum := sha256.Sum256(of.der)
	signature, err := principal.SignProof(l.private, slices.Concat([]byte(tag), []byte{byte(len(of.service))}, []byte(of.service), sum[:]))
	if err != nil {
		panic(err)
	}
	return signature
}

func (l link) request() *trustv1.EnrollKeyRequest {
	return &trustv1.EnrollKeyRequest{Service: l.service, PublicKey: l.der, Proof: l.sign("onbehalf/v1 enroll\x00", l)}
}

func (l link) withToken(token string) *trustv1.EnrollKeyRequest {
	r := l.request()
	r.Credential = &trustv1.EnrollKeyRequest_Token{Token: token}
	return r
}

func (l link) after(old link) *trustv1.EnrollKeyRequest {
	r := l.request()
	r.Credential = &trustv1.EnrollKeyRequest_Renewal{Renewal: &trustv1.Renewal{KeyId: old.id, Signature: old.sign("onbehalf/v1 renew\x00", l)}}
	return r
}

// signed signs a request for a principal, which has no signature yet.
func (l link) signed(t *testing.T, at time.Time, request proto.Message) *trustv1.Signed {
	t.Helper()
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(encoded)
	s := &trustv1.Signed{KeyId: l.id, Time: at.Unix(), Nonce: instance()}
	seconds := binary.BigEndian.AppendUint64(nil, uint64(s.GetTime()))
	if s.Signature, err = principal.SignProof(l.private, slices.Concat([]byte("onbehalf/v1 issue\x00"), seconds, s.GetNonce(), sum[:])); err != nil {
		t.Fatal(err)
	}
	return s
}

// enrolled enrols a new key with a token.
func (e *edge) enrolled(c client, service string) link {
	e.t.Helper()
	l := newLink(e.t, service)
	if _, err := c.EnrollKey(e.t.Context(), l.withToken(e.token(service))); err != nil {
		e.t.Fatal(err)
	}
	return l
}

func wantCode(t *testing.T, what string, err error, want connect.Code) {
	t.Helper()
	if err == nil || connect.CodeOf(err) != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: not one line: %v", what, err)
	}
}

// authority makes certificates for a mesh.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mesh"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) issue(id string) tls.Certificate {
	a.t.Helper()
	uri, err := url.Parse(id)
	if err != nil {
		a.t.Fatal(err)
	}
	key := a.newKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"edge.test"}, URIs: []*url.URL{uri}}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// identify is the exact match that the edge makes.
func identify(s *tls.ConnectionState) (string, bool) {
	uris := s.VerifiedChains[0][0].URIs
	if len(uris) != 1 {
		return "", false
	}
	name, ok := strings.CutPrefix(uris[0].String(), spiffe)
	return name, ok && !strings.Contains(name, "/")
}

// tls has the edge serve with TLS as well; the client has the certificate of an
// id, or none.
func (e *edge) tls(a *authority) (dial func(id string) client) {
	server := httptest.NewUnstartedServer(e.Handler())
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{a.issue(spiffe + "edge")}, ClientCAs: a.pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS13,
	}
	server.StartTLS()
	e.t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return func(id string) client {
		config := &tls.Config{RootCAs: a.pool, ServerName: "edge.test", MinVersion: tls.VersionTLS13}
		if id != "" {
			config.Certificates = []tls.Certificate{a.issue(id)}
		}
		transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
		e.t.Cleanup(transport.CloseIdleConnections)
		return trustv1connect.NewTrustFeedServiceClient(connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, server.URL)))
	}
}
