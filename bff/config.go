package bff

import (
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

// Config is the configuration of an edge, usually read by [LoadConfig]. A zero
// field is its default. What of it can be changed while the edge runs is said at
// [Server.Reload].
type Config struct {
	// Version is that of the file's format: 1. Required.
	Version int `yaml:"version"`

	// Issuer is the name in which principals are signed, and under which their
	// subjects are unique, such as https://edge.example. Services find the
	// signing key by it; all replicas of an edge share it. Required.
	Issuer string `yaml:"issuer"`

	// Presenter is the edge's own service name, as its certificate shows it to
	// services that check who hands them a principal. Default: bff.
	Presenter string `yaml:"presenter"`

	// TrustDomain is the audience of relayed principals, such as mesh:prod.
	// Required if a route is of mode relay.
	TrustDomain string `yaml:"trust_domain"`

	// DataDir is the directory of what the edge must not lose: its signing keys,
	// the store unless that is an external one, and the token of whoever may use
	// the admin listener. Only one edge may run on it. It is made if it is not
	// there, for this user alone. Default: data. Here and below, a path that is not
	// absolute is relative to the directory of the file.
	DataDir string `yaml:"data_dir"`

	// SigningKey is a file with the private key that signs principals: Ed25519
	// or ECDSA P-256, as PKCS#8 PEM, readable by this user alone. It is never made
	// and never rotated. Default: the edge makes its keys in data_dir by itself,
	// and rotates them as keys says.
	SigningKey string `yaml:"signing_key"`

	// Keys say how the edge rotates its signing keys.
	Keys Keys `yaml:"keys"`

	// Store says where the edge keeps what its replicas share: public keys,
	// revocations, enrolments.
	Store Store `yaml:"store"`

	// Services are what services may do in their own name, see Service. Default:
	// a service that acts for itself has no scopes.
	Services []Service `yaml:"services"`

	// LinkKeys is a file with the public keys with which services sign what they
	// pass on, as a JSON Web Key Set: each with "use": "sig", "onb_role": "link"
	// and "onb_owner", the service's name. The edge publishes them beside its own.
	// Default: none.
	LinkKeys string `yaml:"link_keys"`

	// Listen are the addresses to listen on.
	Listen Listen `yaml:"listen"`

	// TLS is for the public listener. Default: no TLS; then something before the
	// edge has to provide it.
	TLS TLS `yaml:"tls"`

	// MeshTLS is for the mesh listener. Default: no TLS; services join without
	// it from the loopback interface only.
	MeshTLS MeshTLS `yaml:"mesh_tls"`

	// TrustedProxies are the addresses, or networks such as 10.0.0.0/8, of
	// proxies whose x-request-id is kept, and who add the client's address to
	// x-forwarded-for; it counts for limits.failed_credentials. A proxy that only
	// passes on what clients write there must not be listed. Default: none.
	TrustedProxies []string `yaml:"trusted_proxies"`

	// Issuers are the OpenID providers whose access tokens are taken. Required
	// if there is a route with auth required or optional.
	Issuers []oidc.Issuer `yaml:"issuers"`

	// Enrich says where workspace, roles and attributes come from that credentials
	// do not have. Default: nothing is added.
	Enrich Enrich `yaml:"enrich"`

	// Routes say which requests go where, and who may make them. Required.
	Routes []Route `yaml:"routes"`

	// Limits bound sizes and times.
	Limits Limits `yaml:"limits"`

	// Audit says where the record of each request goes.
	Audit Audit `yaml:"audit"`
}

// Listen are addresses, each a host or IP address and a port. Without a host,
// as in :8080, it is all interfaces.
type Listen struct {
	// Public is for requests from outside: HTTP/1.1 and HTTP/2, the latter
	// without TLS by prior knowledge. Default: 127.0.0.1:8080.
	Public string `yaml:"public"`

	// Mesh is for services: the trust feed that they join, and the public keys, at
	// /.well-known/onbehalf/jwks.json. Default: 127.0.0.1:9443.
	Mesh string `yaml:"mesh"`

	// Admin is for whoever runs the edge: /healthz says that the process lives,
	// /readyz whether it should get requests, and the commands revoke, keys,
	// services and store use it. These show the token in data_dir/admin.token, and
	// are taken from the loopback interface only. Default: 127.0.0.1:9444.
	Admin string `yaml:"admin"`

	// Metrics is for Prometheus, at /metrics; nothing else is there. Metrics
	// name routes and issuers, and nobody who calls. Whoever can reach it can read
	// them, so it is for the loopback interface or a private network. Default: none, and
	// nothing is counted.
	Metrics string `yaml:"metrics"`
}

// TLS names the files of a certificate. Files that change are read anew, so
// that renewing a certificate needs no restart.
type TLS struct {
	// Cert is a PEM file with the certificate and those between it and its root.
	Cert string `yaml:"cert"`

	// Key is a PEM file with its private key.
	Key string `yaml:"key"`
}

// MeshTLS is TLS for services, and how they show who they are.
type MeshTLS struct {
	// Cert is a PEM file with the certificate and those between it and its root.
	Cert string `yaml:"cert"`

	// Key is a PEM file with its private key.
	Key string `yaml:"key"`

	// ClientCA is a PEM file with the authorities that vouch for the certificates
	// of services. With it, a service is known by the SPIFFE ID in its certificate
	// and cannot join without one. Default: certificates are not asked for;
	// services enrol with a token, see onbehalf services enroll.
	ClientCA string `yaml:"client_ca"`

	// TrustDomain is that of SPIFFE, such as prod.example: the service orders is
	// spiffe://prod.example/orders. Required with client_ca.
	TrustDomain string `yaml:"trust_domain"`
}

// Keys say how the edge rotates its signing keys. It publishes the next one when
// half of the active one's life has passed, and uses it when all services that
// follow the feed have it, at the latest after Lead.
type Keys struct {
	// Life is for how long a key is made. Default: 720h. At least 10m.
	Life time.Duration `yaml:"life"`

	// Lead is how long a new key is published before it is used where somebody
	// has not got it: several times as long as it takes services that only fetch
	// the key set. Default: 25m. At most half of Life.
	Lead time.Duration `yaml:"lead"`
}

// Store says where the edge keeps what its replicas share. By default that is
// in data_dir/store, for one edge alone.
type Store struct {
	// URL is that of a NATS cluster with JetStream, such as
	// tls://nats.internal:4222; several are separated by commas. Default: none; the
	// edge keeps it itself.
	URL string `yaml:"url"`

	// Credentials is a file with a user's JWT and seed for the cluster. Default:
	// none.
	Credentials string `yaml:"credentials"`

	// CA is a PEM file with the authorities that may vouch for the cluster.
	// Default: those of the system.
	CA string `yaml:"ca"`

	// Cert and Key are PEM files with the certificate that the edge shows to the
	// cluster, and its private key. Default: none.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`

	// Replicas is on how many servers of the cluster everything is kept. Default:
	// 3.
	Replicas int `yaml:"replicas"`

	// Outage is how long the edge goes on without a quorum of the cluster: it
	// could then miss what another edge revokes. After that it mints nothing, and
	// services that follow its feed refuse principals. Default: 5m.
	Outage time.Duration `yaml:"outage"`
}

// Service is what a service may do in its own name: as a principal of its own,
// for jobs that no caller has begun.
type Service struct {
	// Name is the service's name. Required.
	Name string `yaml:"name"`

	// Scopes and Roles are those of its principals. Default: none.
	Scopes []string `yaml:"scopes"`
	Roles  []string `yaml:"roles"`
}

// Limits bound sizes and times.
type Limits struct {
	// HeaderBytes is the most that a request's header may be long. Default:
	// 32768.
	HeaderBytes int `yaml:"header_bytes"`

	// BodyBytes is the most that a request's body may be long, all messages of a
	// stream together. Default: no limit; bodies are passed on as they come, never
	// held.
	BodyBytes int `yaml:"body_bytes"`

	// BodyTimeout is how long a client may let the edge wait for its request's
	// body, and a second more for each KiB of it; then it is answered 408. Where a
	// body is a stream of messages, in gRPC, gRPC-Web and the streams of Connect, it
	// counts for each message, from its first byte on: between two of them a stream
	// may wait for ever. At most 24h. Default: 30s; at least 1s.
	BodyTimeout time.Duration `yaml:"body_timeout"`

	// TakeTimeout is how long a client may take for the next piece, of up to 16 KiB,
	// of an answer that is there for it, in streams too; then the request is ended.
	// At most 24h. Default: 5m; at least 1s.
	TakeTimeout time.Duration `yaml:"take_timeout"`

	// Requests is the most requests that are under way at a time, streams and
	// WebSockets too; more are answered 503 at once. The last fifth is kept for
	// those with a credential that has been verified before, so that others cannot
	// crowd them out. Default: 10000, about 300 MB of idle streams.
	Requests int `yaml:"requests"`

	// ClientRequests is the most of Requests that one client address, of IPv6 one
	// /64, may have under way without a credential that was found good; more are
	// answered 503. A credential that has been verified before is let in whatever
	// its address has. The addresses are those of peers unless they are in
	// trusted_proxies: behind a load balancer that is not there, it is for all
	// clients together. Default: a quarter of requests.
	ClientRequests int `yaml:"client_requests"`

	// FailedCredentials is how many credentials may be refused per minute for one
	// client address, of IPv6 for one /64; all may come at once. Then credentials
	// that come from there and have not been verified before are not looked at any
	// more, and answered 429; others are served as ever. The addresses are those
	// of peers unless they are in trusted_proxies. Default: 60.
	FailedCredentials int `yaml:"failed_credentials"`

	// HeaderTimeout is how long a client may take to send its header. Default:
	// 10s.
	HeaderTimeout time.Duration `yaml:"header_timeout"`

	// IdleTimeout is how long a connection without a request is kept. Default:
	// 2m.
	IdleTimeout time.Duration `yaml:"idle_timeout"`

	// Streams is how many requests one HTTP/2 connection may make at a time.
	// Default: 250.
	Streams int `yaml:"streams"`

	// PrincipalLife is how long a principal is valid, if its credential is. One
	// that has less than a minute left is not shared by requests. Default, and
	// most: 5m.
	PrincipalLife time.Duration `yaml:"principal_life"`

	// MintWindow is how long requests with the same credential share what was
	// found out about it, and on routes that mint per window the principal: also
	// how long a credential that its issuer takes back is still good. At most 4m.
	// Default: 60s.
	MintWindow time.Duration `yaml:"mint_window"`

	// Credentials is how many credentials are remembered for the mint window.
	// Default: 10000, about 40 MB.
	Credentials int `yaml:"credentials"`

	// RevocationMemory is how long revocations are remembered here. A credential
	// that was issued before that is refused: it could have been revoked. Default:
	// 720h; at least 1h.
	RevocationMemory time.Duration `yaml:"revocation_memory"`

	// LinkKeyLife is how long a service's key is good; it enrols the next one by
	// itself when half of that has passed. Default: 24h; at least 10m.
	LinkKeyLife time.Duration `yaml:"link_key_life"`

	// Watchers is how many services may follow the feed at a time. Default: 20000,
	// about 1 GB.
	Watchers int `yaml:"watchers"`

	// DrainDelay is how long requests are still taken after the edge is told to
	// stop and says that it is not ready: as long as a load balancer needs to
	// notice. Default: 0s.
	DrainDelay time.Duration `yaml:"drain_delay"`

	// Drain is how long requests that are under way may then take until they are
	// broken off. Default: 30s.
	Drain time.Duration `yaml:"drain"`
}

// FailureAction says what happens to requests while something fails that they
// need: no audit record can be written, or what is to be added to a principal
// cannot be had.
type FailureAction string

// The actions.
const (
	// RefuseRequests answers 503 until it works again.
	RefuseRequests FailureAction = "refuse"
	// ServeRequests serves requests without it.
	ServeRequests FailureAction = "serve"
)

// Audit says where the audit records go, one JSON object per line.
type Audit struct {
	// File is what records are appended to. It is made, readable by this user
	// alone, if it is not there; to rotate it, copy and truncate. Default: the
	// standard output; whoever reads that and stops reading stops the edge.
	File string `yaml:"file"`

	// OnFailure is refuse or serve. With refuse, the requests that are under way
	// when writing begins to fail are completed, and their records kept in memory
	// and written later, up to 1 MiB of them. Default: refuse.
	OnFailure FailureAction `yaml:"on_failure"`

	// Refusals is how many records a second there are of requests that are refused
	// for the same reason before it is known who made them: no credential or a bad
	// one, no route, a page of an origin that cors does not list; of preflights, and
	// of enrolments that are refused.
	// Of those that are refused for limits.requests or limits.failed_credentials
	// there is one. The others are counted in "omitted" of a later record; requests
	// that are let in always have their own. Default: 1000.
	Refusals int `yaml:"refusals"`
}
