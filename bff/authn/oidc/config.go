package oidc

// Issuer is what is believed of one OpenID provider, as a configuration file
// says it. [Validate] tells what is wrong with it. Claims are named by their
// name, or by a path whose parts are separated by dots ("realm_access.roles");
// where the name itself has dots, the literal name goes first.
type Issuer struct {
	// Issuer is the provider's issuer URL exactly as its tokens and its discovery
	// document have it, also as to a slash at the end. It is https, or http to
	// the loopback interface; see PrivateNetwork for where it may be. Required.
	Issuer string `yaml:"issuer"`

	// JWKSURI is where the provider's keys are, for one without OpenID
	// discovery. Default: what discovery says.
	JWKSURI string `yaml:"jwks_uri"`

	// PrivateNetwork says that the provider may be on a private network or this
	// machine: that the addresses its names resolve to, also that of the key set
	// which discovery names, may be those of RFC 1918, RFC 4193, RFC 6598 and the
	// loopback interface. Without it only public addresses are connected to;
	// the names of services in a cluster, and localhost, need it. A URL with a
	// loopback IP address, such as http://127.0.0.1:8090, does not, and then
	// nothing else is connected to. Link-local addresses and those where clouds
	// have their metadata are never connected to. That is looked at with each
	// connection, so HTTPS_PROXY and the like are not used for issuers. Default:
	// false.
	PrivateNetwork bool `yaml:"private_network"`

	// Audience are the names under which tokens are meant for us; a token needs
	// one of them in aud. Required: without it, a token made for any other
	// service of the provider would do (RFC 9068, section 4).
	Audience []string `yaml:"audience"`

	// AuthorizedParties are the clients (azp) whose tokens are taken. Default:
	// any. A token that is for others than us too always needs an azp.
	AuthorizedParties []string `yaml:"authorized_parties"`

	// Typ is "at+jwt", the default: the token's header says that it is an access
	// token (RFC 9068, section 2.1). "any" is for providers whose tokens do not
	// say it; then the audience must be one that no ID token has. A token that
	// says it is something else, and one with the marks of an ID token, is
	// refused in either case.
	Typ string `yaml:"typ"`

	// Algorithms are the signature algorithms that are taken, of RS256, RS384,
	// RS512, PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA (Ed25519).
	// Default: RS256, ES256 and EdDSA.
	Algorithms []string `yaml:"algorithms"`

	// TenantClaim has the subject's tenant. Default: there are no tenants.
	TenantClaim string `yaml:"tenant_claim"`

	// PerTenant says that subjects are unique only within a tenant. The tenant
	// then becomes part of every id, and a token without one is refused.
	// Default: false.
	PerTenant bool `yaml:"per_tenant"`

	// Subject says who the subject is, if it is a human or an agent.
	Subject Subject `yaml:"subject"`

	// Service says which service the subject is, if it is one. Required if
	// a rule in Kinds says so.
	Service Service `yaml:"service"`

	// Kinds decide what kind of party the subject is. The first rule that
	// matches does; without a match the token is refused. Required, as there is
	// no safe default: an agent taken for a human gets a human's rights.
	Kinds []KindRule `yaml:"kinds"`

	// Scopes are read from a string with spaces between them (RFC 8693, section
	// 4.2) or an array of strings. Default claim: "scope".
	Scopes Mapping `yaml:"scopes"`

	// Roles are read from an array of strings, or a string that is one role.
	// Default: no roles.
	Roles Mapping `yaml:"roles"`

	// ClientIDClaim has the OAuth client. Default: "client_id", else "azp".
	ClientIDClaim string `yaml:"client_id_claim"`

	// Attributes are other claims to carry along. Default: none; at most 16, of
	// 1 KiB together.
	Attributes []Attribute `yaml:"attributes"`

	// Agents are who may act on a subject (the claim act, RFC 8693). Default:
	// nobody; a token with any other actor is refused.
	Agents []Agent `yaml:"agents"`
}

// How a subject's id comes from a claim.
const (
	SubjectDerived = "derived" // UUIDv5 over issuer, tenant and the claim's value
	SubjectUUID    = "uuid"    // the value is a UUID, and is the id
	SubjectName    = "name"    // the value is the id's name
)

// Subject says who a human or an agent is.
type Subject struct {
	// Claim has the value from which the id is made. Default: "sub". A claim
	// that can change or be given to someone else (an e-mail address) gives away
	// the rights of whoever had it before.
	Claim string `yaml:"claim"`

	// As is "derived" (the default), "uuid" or "name". With the latter two, the
	// same value from two issuers is the same party: use them for issuers that
	// share their users.
	As string `yaml:"as"`
}

// Service says which service a token's subject is.
type Service struct {
	// Claim has the service's name, e.g. "client_id". There is no default.
	Claim string `yaml:"claim"`

	// Names maps values of Claim to service names; other values are refused.
	// Default: the value itself is the name. Then whoever can register a client
	// at the issuer with a name of its choice can be any service.
	Names map[string]string `yaml:"names"`
}

// Kind is a kind of party.
type Kind string

// The kinds.
const (
	KindHuman   Kind = "human"
	KindAgent   Kind = "agent"
	KindService Kind = "service"
)

// KindRule says that the subject is of a kind if a condition holds.
type KindRule struct {
	// Kind is human, agent or service. Required.
	Kind Kind `yaml:"kind"`

	// When is the condition. Required.
	When Condition `yaml:"when"`
}

// Condition is one about one claim. Exactly one of Equals and Present is set.
type Condition struct {
	// Claim is the name of the claim. Required.
	Claim string `yaml:"claim"`

	// Equals is the string that the claim is; for a boolean or a number, its
	// JSON text. An array equals nothing.
	Equals string `yaml:"equals"`

	// Present holds if the claim is there and not null.
	Present bool `yaml:"present"`
}

// Mapping says which claim has names, and under which of ours they go on.
type Mapping struct {
	// Claim is the name of the claim.
	Claim string `yaml:"claim"`

	// Map is from the issuer's names to ours; an empty one of ours is the same
	// name. Names that it does not have are dropped. Default: all names go on as
	// they are.
	Map map[string]string `yaml:"map"`
}

// Attribute says which claim is carried as the attribute Name: a string, or the
// JSON text of a boolean or a number. One that is absent, null or empty is left
// out.
type Attribute struct {
	// Name is that of the attribute, and Claim that of the claim. Required.
	Name  string `yaml:"name"`
	Claim string `yaml:"claim"`
}

// Agent is one who may act on an issuer's subjects.
type Agent struct {
	// Issuer is whose name for the agent Subject is: act.iss. Default: the
	// token's issuer, which is also meant by an act without iss.
	Issuer string `yaml:"issuer"`

	// Tenant is the agent's, where the token's issuer is configured per tenant
	// and also names the agent; then it is required.
	Tenant string `yaml:"tenant"`

	// Subject is act.sub. Required.
	Subject string `yaml:"subject"`

	// Scopes are all that the agent may have, as named after Scopes.Map: the
	// principal gets those that the token has too, and no roles, which cannot be
	// divided. Default: the token's scopes and roles as they are.
	Scopes []string `yaml:"scopes"`
}
