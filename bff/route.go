package bff

import "time"

// Route says which requests go where, and who may make them. Of several that
// fit, the one with the request's host goes before one without a host, and then
// the one with the longest path; the order of routes has no meaning. Whatever
// the route, no header that only the platform may write comes through.
type Route struct {
	// Host is the host that the client asks for, without a port. Default: any.
	Host string `yaml:"host"`

	// PathPrefix takes a path and all below it: /api takes /api and /api/x, not
	// /apis. Either it or Service is required.
	PathPrefix string `yaml:"path_prefix"`

	// Service is the full name of an RPC service, such as shop.orders.v1.Orders.
	// It takes each of its methods, in gRPC, gRPC-Web and Connect.
	Service string `yaml:"service"`

	// Upstream is where requests go: a URL of a scheme, a host and perhaps a
	// port. http is HTTP/1.1, h2c is HTTP/2 without TLS, https is whatever the
	// upstream chooses; gRPC needs one of the latter two. Required.
	Upstream string `yaml:"upstream"`

	// Endpoints are the addresses that the upstream is reached at, each a host and
	// a port, where that is not the one of upstream itself: what requests ask for,
	// and the name in its certificate, stay those of upstream. A request goes to the
	// one with the fewest under way. One that cannot be reached is left out for 1s
	// and then up to 30s, and what was to go there goes to another; so is one that
	// fails five requests in a row, by breaking the connection or with 502, 503, 504
	// or UNAVAILABLE, but never more than half of them for that. A GET, HEAD or
	// OPTIONS whose connection breaks before anything of an answer came, and what a
	// server of HTTP/2 says that it has not processed, is sent once more, to another;
	// a body only if it is at most 16 KiB. Of those that
	// may have been processed, no more than a fifth of the requests of the last 10s
	// are, or three. Default: that of upstream.
	Endpoints []string `yaml:"endpoints"`

	// HealthCheck says how the endpoints are looked after. Routes that say the same
	// about their upstream share its connections and its checks. Default: not at all.
	HealthCheck HealthCheck `yaml:"health_check"`

	// Idempotent are methods of Service that have the same effect once and twice,
	// such as Get: with several endpoints, they are sent once more as a GET is.
	// Default: none.
	Idempotent []string `yaml:"idempotent"`

	// CA is a PEM file with the authorities that may vouch for an https upstream.
	// Default: those of the system.
	CA string `yaml:"ca"`

	// ServerName is the name that the upstream's certificate must be for.
	// Default: the host of upstream.
	ServerName string `yaml:"server_name"`

	// ClientCert and ClientKey are PEM files with the certificate that the edge
	// shows to the upstream, and its private key. Files that change are read anew.
	// Default: none.
	ClientCert string `yaml:"client_cert"`
	ClientKey  string `yaml:"client_key"`

	// WebSocket lets the upgrade to WebSocket through. No other upgrade ever is.
	// Default: false.
	WebSocket bool `yaml:"websocket"`

	// AnswerWithin is how long the upstream may take to begin its answer, but for
	// gRPC and streams, which bring a deadline of their own. Default: 1m.
	AnswerWithin time.Duration `yaml:"answer_within"`

	// MaxRequests is the most requests of this route that are under way at a time,
	// streams too, so that one slow upstream does not take the places of all
	// others; more are answered 503. Those that were let in before a reload do not
	// count after it. Default: no limit but limits.requests.
	MaxRequests int `yaml:"max_requests"`

	// CORS says which web pages of other origins may call the route, and read its
	// answers. With it the edge answers a browser's preflight by itself, before it
	// looks for a credential; what the upstream says in headers named
	// Access-Control-* is removed; and what pages of origins that are not listed send
	// without a preflight, other than GET and HEAD, is answered 403, WebSockets too.
	// Default: the edge says nothing to browsers. What the upstream says comes
	// through, but a preflight has no credential, so that it reaches the upstream
	// only with auth: none or optional.
	CORS *CORS `yaml:"cors"`

	// Auth is required, optional or none. Default: required.
	Auth Auth `yaml:"auth"`

	// Observe lets through what Auth would refuse, without a principal, and writes
	// would_refuse and the reason into its audit record: to see who would be refused
	// before anybody is. WHILE IT IS SET, NOBODY HAS TO LOG IN: the upstream must ask
	// for what it asks for today. A principal is still made for a valid credential and
	// for no other, and the edge's limits still hold. It is of no use with auth: none.
	// Default: false.
	Observe bool `yaml:"observe"`

	// Mode is relay or linked. Default: linked.
	Mode Mode `yaml:"mode"`

	// Audience is the one service that a linked principal is for, by its service
	// name, such as orders. Required in mode linked; in mode relay it is the trust
	// domain, and not written here.
	Audience string `yaml:"audience"`

	// Mint is window or request. Default: window.
	Mint Mint `yaml:"mint"`

	// MaxLinks is how many times a linked principal may be passed on, 0 to 6.
	// Default: 6.
	MaxLinks *int `yaml:"max_links"`
}

// Auth says which requests a route takes.
type Auth string

// The values of Auth.
const (
	// AuthRequired takes requests with a valid credential, and answers 401 to
	// others; [Route.Observe] shows whom it would be.
	AuthRequired Auth = "required"
	// AuthOptional also takes requests without a credential, and forwards them
	// without a principal. An invalid credential is answered 401: a client that
	// believes to be logged in must not become anonymous unawares.
	AuthOptional Auth = "optional"
	// AuthNone takes all requests, and looks at no credential. No principal is
	// sent.
	AuthNone Auth = "none"
)

// Mode says what services do with a principal that they pass on.
type Mode string

// The modes.
const (
	// ModeLinked is for one service at a time: whoever passes the principal on
	// signs to whom. A service must have a link key to do so.
	ModeLinked Mode = "linked"
	// ModeRelay is for the whole trust domain: services pass the principal on as
	// it came. Whoever gets hold of it there can use it until it ends.
	ModeRelay Mode = "relay"
)

// Mint says for which requests a principal is made.
type Mint string

// The values of Mint.
const (
	// MintWindow makes one for all requests with the same credential within
	// Limits.MintWindow; routes with the same audience share it.
	MintWindow Mint = "window"
	// MintRequest makes one for each request, which then also names it as a
	// transaction. Methods with the rule single_use need it.
	MintRequest Mint = "request"
)
