package bff

import (
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

// Config is the configuration of an edge, usually read by [LoadConfig]. A zero
// field is its default.
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

	// DataDir is the directory of what the edge must not lose, now the signing
	// key. It is made if it is not there, for this user alone. Default: data.
	// Here and below, a path that is not absolute is relative to the directory
	// of the file.
	DataDir string `yaml:"data_dir"`

	// SigningKey is a file with the private key that signs principals: Ed25519
	// or ECDSA P-256, as PKCS#8 PEM, readable by this user alone. Default:
	// authority.pem in data_dir, which is made when the edge starts for the first
	// time. A named file is never made.
	SigningKey string `yaml:"signing_key"`

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

	// MeshTLS is for the mesh listener. Default: no TLS; services take keys
	// without it from the loopback interface only.
	MeshTLS TLS `yaml:"mesh_tls"`

	// TrustedProxies are the addresses, or networks such as 10.0.0.0/8, of
	// proxies whose x-request-id is kept. Default: none.
	TrustedProxies []string `yaml:"trusted_proxies"`

	// Issuers are the OpenID providers whose access tokens are taken. Required
	// if there is a route with auth required or optional.
	Issuers []oidc.Issuer `yaml:"issuers"`

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

	// Mesh is for services: it has the public keys, at
	// /.well-known/onbehalf/jwks.json. Default: 127.0.0.1:9443.
	Mesh string `yaml:"mesh"`

	// Admin is for whoever runs the edge: /healthz says that the process lives,
	// /readyz whether it should get requests. It asks nobody who they are, so keep
	// it to the host or the probes. Default: 127.0.0.1:9444.
	Admin string `yaml:"admin"`
}

// TLS names the files of a certificate. Files that change are read anew, so
// that renewing a certificate needs no restart.
type TLS struct {
	// Cert is a PEM file with the certificate and those between it and its root.
	Cert string `yaml:"cert"`

	// Key is a PEM file with its private key.
	Key string `yaml:"key"`
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

	// DrainDelay is how long requests are still taken after the edge is told to
	// stop and says that it is not ready: as long as a load balancer needs to
	// notice. Default: 0s.
	DrainDelay time.Duration `yaml:"drain_delay"`

	// Drain is how long requests that are under way may then take until they are
	// broken off. Default: 30s.
	Drain time.Duration `yaml:"drain"`
}

// FailureAction says what happens to requests while no audit record can be
// written.
type FailureAction string

// The actions.
const (
	// RefuseRequests answers 503 until records can be written again.
	RefuseRequests FailureAction = "refuse"
	// ServeRequests serves requests that leave no record.
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
}
