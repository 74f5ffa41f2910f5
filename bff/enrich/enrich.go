// Package enrich adds facts to principals that credentials do not have: the
// workspace in which a subject works, roles, and a few coarse attributes.
//
// By default they come from a table, or from a service that the edge calls; both
// are a matter of its configuration (enrich). For any other source there is
// [Enricher].
//
// An enricher can add and nothing else: it has no word in who somebody is, on
// whose behalf, with which scopes and for how long. It is no place for a
// permission set either: what it says is signed, sent along with every call and
// minutes old. What an agent does for a subject gets no roles from it.
//
// The edge believes its enricher. Whoever controls that can give itself every
// role that a service asks for.
package enrich

import "context"

// The limits of an [Output]. All but MaxRoles and MaxAttributes are in bytes.
const (
	MaxRoles      = 16
	MaxAttributes = 8
	MaxText       = 256 // of each role, name or value
	MaxTotal      = 512 // of all of them together
)

// WorkspaceAttribute is the attribute of a principal that has the workspace.
const WorkspaceAttribute = "workspace"

// Input says whom to enrich. It is shared and must not be modified.
type Input struct {
	// Issuer is who issued the credential, such as an OpenID provider's URL. It is
	// empty if there is nobody to name.
	Issuer string
	// Subject is whose authority is used, as records show it, such as
	// svc-payments; who acts for it is not told.
	Subject string
	// Kind is human, agent or service.
	Kind string
	// Tenant is what the credential says; subjects may only be unique within it.
	Tenant string
	// Roles are those that the credential brings.
	Roles []string
	// Session is the login session, a UUID. It is empty unless the configuration
	// says enrich.per_session: then it is asked for each one anew.
	Session string
}

// Output is what to add. The zero value adds nothing. Texts are UTF-8 without
// control characters; the order of roles has no meaning, and one that is there
// already is in order. What breaks a limit is not cut but refused as a whole.
type Output struct {
	// Workspace is the workspace in which the subject works, or empty. Services
	// see it as the attribute [WorkspaceAttribute], unless the credential brings
	// one of this name.
	Workspace string
	// Roles are added to those of the credential, MaxRoles together.
	Roles []string
	// Attributes are added by name. One that the credential has stays as it is.
	Attributes map[string]string
}

// Enricher knows more about subjects than their credentials say. It is safe for
// concurrent use.
type Enricher interface {
	// Enrich returns what to add for a subject, or an error if that cannot be
	// said now. Nothing to add is an empty output, not an error. An answer is
	// remembered as the configuration says; a call that takes longer than
	// enrich.timeout has its context cancelled and counts as an error, and is not
	// waited for.
	Enrich(ctx context.Context, in *Input) (*Output, error)
}

// Row is a line of a table of facts. It fits a subject if all that it names of
// Issuer, Tenant, Subject and Role does; of these, one is required. Of all rows
// that fit, roles are joined; where they say different things of the workspace
// or of an attribute, the first one counts.
type Row struct {
	// Issuer is who issued the credential, exactly as the configuration has it.
	// Default: any.
	Issuer string `yaml:"issuer"`
	// Tenant is the subject's. Default: any.
	Tenant string `yaml:"tenant"`
	// Subject is one subject, as records show it: hm-, am- or svc- and its id.
	// Default: any.
	Subject string `yaml:"subject"`
	// Role is one that the credential brings, such as a group that the issuer's
	// roles map. Default: none is needed.
	Role string `yaml:"role"`

	// Workspace, Roles and Attributes are what is added; at least one is required.
	Workspace  string            `yaml:"workspace"`
	Roles      []string          `yaml:"roles"`
	Attributes map[string]string `yaml:"attributes"`
}
