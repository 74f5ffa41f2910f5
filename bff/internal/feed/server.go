package feed

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1/trustv1connect"
	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/internal/state"
)

// maxRequest is more than any request needs.
const maxRequest = 64 << 10

// Options are those of a [Server]. Zero values mean what is said.
type Options struct {
	// Identify returns the service that a TLS client certificate names. nil: no
	// certificate names any.
	Identify func(*tls.ConnectionState) (service string, ok bool)
	// RequireCert refuses all callers that no certificate identifies.
	RequireCert bool
	// TrustDomain is the audience of relayed principals; "": there are none.
	TrustDomain string

	// Issue returns a principal for a service that acts for itself, relayed or
	// for the service. nil: none are issued. A [connect.Error] is passed on, all
	// else is only logged.
	Issue func(ctx context.Context, service string, relay bool) (header string, err error)
	// Renew returns a fresh principal of p's session for the service that holds p,
	// which has been verified. Errors are as those of Issue.
	Renew func(ctx context.Context, service string, p *principal.Principal) (header string, err error)
	// Name is that of the edge itself, which no service may have; "": it has none.
	Name string
	// Enrolled is told of each enrolment, also of those that were refused. nil:
	// nobody is.
	Enrolled func(ctx context.Context, e Enrolment)

	Heartbeat      time.Duration // how long a watcher hears nothing at most; 0: 2 s
	MaxAge         time.Duration // how old what is known may be to be told as fresh; 0: 5 min
	SendTimeout    time.Duration // how long a watcher may take nothing; 0: 30 s
	LinkKeyLife    time.Duration // 0: 24 h
	KeysPerService int           // link keys at a time, two for each replica and one for each start; 0: 1000
	MaxWatchers    int           // 0: 20,000

	Logger *slog.Logger     // may be nil
	Now    func() time.Time // may be nil; with a monotonic reading
}

func (o Options) withDefaults() Options {
	def(&o.Identify, func(*tls.ConnectionState) (string, bool) { return "", false }, o.Identify == nil)
	def(&o.Heartbeat, 2*time.Second, o.Heartbeat == 0)
	def(&o.MaxAge, 5*time.Minute, o.MaxAge == 0)
	def(&o.SendTimeout, 30*time.Second, o.SendTimeout == 0)
	def(&o.LinkKeyLife, 24*time.Hour, o.LinkKeyLife == 0)
	def(&o.KeysPerService, 1000, o.KeysPerService == 0)
	def(&o.MaxWatchers, 20_000, o.MaxWatchers == 0)
	def(&o.Logger, slog.New(slog.DiscardHandler), o.Logger == nil)
	def(&o.Now, time.Now, o.Now == nil)
	return o
}

func def[T any](field *T, value T, unset bool) {
	if unset {
		*field = value
	}
}

// Enrolment is what became of a request to publish a link key.
type Enrolment struct {
	Service, Address string
	// By is how the service showed who it is: "mtls", "token" or "renewal"; "" if
	// it did not.
	By string
	// KeyID and Sequence are of the key that is published; zero if none is.
	KeyID    string
	Sequence uint64
	// Err is why none is, as the caller is told.
	Err error
}

// Server serves the feed of one edge. It is safe for concurrent use. Make one
// with [New].
type Server struct {
	state *state.State
	o     Options
	log   *slog.Logger

	tracker   *tracker
	nonces    nonces
	confirms  limiter
	verifiers verifiers
	enrolling [64]sync.Mutex // by service: one enrolment at a time
}

// New returns a server that tells what s knows, and writes through it.
func New(s *state.State, o Options) *Server {
	o = o.withDefaults()
	return &Server{state: s, o: o, log: o.Logger, tracker: newTracker(o.MaxWatchers, o.Now)}
}

// Handler serves the Connect, gRPC and gRPC-Web protocols. Its paths begin with
// "/onbehalf.trust.v1.TrustFeedService/". Watch needs HTTP/2 and a server that
// bounds how long a peer may be dead.
func (s *Server) Handler() http.Handler {
	server := connect.NewServer()
	trustv1connect.RegisterTrustFeedServiceHandler(server, service{s})
	mux := http.NewServeMux()
	// A compressor for each watcher would cost more than it saves.
	connecthttp.Mount(mux, server, connecthttp.WithReadMaxBytes(maxRequest), connecthttp.WithCompressors())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), responseKey{}, http.NewResponseController(w))
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
}

// responseKey is where a context has the http.ResponseController of its call.
type responseKey struct{}

// service is the RPCs of a server.
type service struct{ *Server }

// caller is who calls.
type caller struct {
	service  string
	verified bool      // by a client certificate
	until    time.Time // when the certificate ends, if there is one
	address  string
}

// caller returns who calls, if it may call in the name of a service at all.
func (s *Server) caller(ctx context.Context, name string) (caller, error) {
	switch {
	case !isServiceName(name):
		return caller{}, errService
	case name == s.o.Name:
		return caller{}, errOwnName
	}
	c, err := s.peer(ctx)
	switch {
	case err != nil:
		return caller{}, err
	case c.verified && c.service != name:
		return caller{}, errOther
	}
	c.service = name
	return c, nil
}

// peer returns who calls as far as its certificate says. One that names no
// service is not as good as none: it was shown for some reason.
func (s *Server) peer(ctx context.Context) (c caller, err error) {
	if info, ok := connect.CallInfoForServerContext(ctx); ok {
		c.address = info.PeerAddr
	}
	if info, ok := connecthttp.ServerInfoForContext(ctx); ok && info.TLS() != nil && len(info.TLS().PeerCertificates) > 0 {
		if len(info.TLS().VerifiedChains) == 0 {
			return caller{}, errCertificate
		}
		if c.service, c.verified = s.o.Identify(info.TLS()); !c.verified {
			return caller{}, errCertificate
		}
		// A connection outlives the certificate that it began with.
		if c.until = info.TLS().PeerCertificates[0].NotAfter; !s.o.Now().Before(c.until) {
			return caller{}, errExpired
		}
	}
	if s.o.RequireCert && !c.verified {
		return caller{}, errNoCertificate
	}
	return c, nil
}
