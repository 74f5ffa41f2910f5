// Package inspect shows what a principal's header says, for people who look for
// the reason why a call was refused.
//
// [Decode] takes a header as it was copied, [New] reads it into a [Report], and
// [Report.Check] and [Report.Ask] say what keys and a service make of it.
// Nothing here lets a call in: without keys a report repeats what anybody may
// have written, and with them it leaves out what depends on the connection, on
// revocations and on the method.
package inspect

import (
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// The states of signatures, of all or of one block. A block may also have the
// name of a [principal.Reason].
const (
	SignaturesUnchecked = "not_verified"
	SignaturesValid     = "valid"
	SignaturesInvalid   = "invalid"
)

// Report is all that a header says, and what was found out about it. Its JSON
// form is stable: members are added, none is renamed.
type Report struct {
	// At is the time that the report is about.
	At time.Time `json:"at"`
	// Signatures is one of the states. Only after [Report.Check] it is another one
	// than [SignaturesUnchecked].
	Signatures string    `json:"signatures"`
	Decision   *Decision `json:"decision,omitempty"`
	Principal  Principal `json:"principal"`
	Chain      []Block   `json:"chain"`
	Size       Size      `json:"size"`
	Notes      []string  `json:"notes,omitempty"`

	header    string
	inspected *principal.Inspection
}

// Decision is what a service would make of the header.
type Decision struct {
	Service     string   `json:"service"`
	TrustDomain string   `json:"trust_domain,omitempty"`
	Issuers     []string `json:"issuers,omitempty"`
	Accepted    bool     `json:"accepted"`
	Reason      string   `json:"reason,omitempty"`
	Code        string   `json:"code,omitempty"`
	Explanation string   `json:"explanation,omitempty"`
	Detail      string   `json:"detail,omitempty"`
	NotChecked  []string `json:"not_checked"`
}

// Principal is the principal after all links.
type Principal struct {
	ID                 string            `json:"id"`
	Mode               string            `json:"mode"` // "linked" or "relay"
	Kind               string            `json:"kind"`
	Subject            Party             `json:"subject"`
	Actor              Party             `json:"actor"`
	Delegations        []Delegation      `json:"delegations,omitempty"`
	Issuer             string            `json:"issuer"`
	Audience           string            `json:"audience"` // the last block's
	Presenter          string            `json:"presenter,omitempty"`
	IssuedAt           time.Time         `json:"issued_at"`
	ExpiresAt          time.Time         `json:"expires_at"`
	PresentBy          *time.Time        `json:"present_by,omitempty"` // the last link's deadline
	StreamUntil        *time.Time        `json:"stream_until,omitempty"`
	Scopes             []string          `json:"scopes"`
	Roles              []string          `json:"roles"`
	StatedScopes       []string          `json:"stated_scopes"` // by the issuer
	StatedRoles        []string          `json:"stated_roles"`
	Tenant             string            `json:"tenant,omitempty"`
	ClientID           string            `json:"client_id,omitempty"`
	SessionID          string            `json:"session_id,omitempty"`
	TransactionID      string            `json:"transaction_id,omitempty"`
	Authentication     *Authentication   `json:"authentication,omitempty"`
	Attributes         map[string]string `json:"attributes,omitempty"`
	Path               []string          `json:"path"`
	MaxLinks           uint32            `json:"max_links"`
	RevocationSequence uint64            `json:"revocation_sequence"`
}

// Party is a human, an agent or a service.
type Party struct {
	ID     string `json:"id"` // hm-…, am-…, svc-…
	Kind   string `json:"kind"`
	Issuer string `json:"issuer"`
}

// Delegation is one step to an agent.
type Delegation struct {
	GrantID string `json:"grant_id"`
	Actor   Party  `json:"actor"`
}

// Authentication is how the subject was authenticated.
type Authentication struct {
	Time   *time.Time `json:"time,omitempty"`
	ACR    string     `json:"acr,omitempty"`
	AMR    []string   `json:"amr,omitempty"`
	Source string     `json:"source,omitempty"`
}

// Block is one block: the issuer's, or a link.
type Block struct {
	Type      string    `json:"type"` // "authority" or "link"
	Signer    string    `json:"signer"`
	KeyID     string    `json:"key_id"`
	Signature string    `json:"signature"`
	Audience  string    `json:"audience"`
	ExpiresAt time.Time `json:"expires_at"`
	LinksLeft int       `json:"links_left"`
	// Removed is what a link takes away; nil for the first block.
	Removed *Removed `json:"removed,omitempty"`
}

// Removed is what a link takes away, and what it claims although its parent had
// not got it. Attributes, tenant and session cannot be taken away.
type Removed struct {
	Scopes []string `json:"scopes,omitempty"`
	Roles  []string `json:"roles,omitempty"`
	// LifeSeconds is by how much its deadline is before the end of the principal.
	LifeSeconds int64 `json:"life_seconds"`
	// Widens are the scopes that its parent had not got: verifiers refuse the link.
	Widens []string `json:"widens,omitempty"`
}

// Size is what takes the bytes, of the decoded header.
type Size struct {
	Bytes        int         `json:"bytes"`
	MaxBytes     int         `json:"max_bytes"`
	Characters   int         `json:"characters"` // as base64
	Blocks       []BlockSize `json:"blocks"`
	OpeningBytes int         `json:"opening_bytes"`
	// Fields are those of the first block, the largest first.
	Fields []FieldSize `json:"fields"`
}

// BlockSize is what one block takes.
type BlockSize struct {
	Bytes          int `json:"bytes"`
	PayloadBytes   int `json:"payload_bytes"`
	KeyIDBytes     int `json:"key_id_bytes"`
	SignatureBytes int `json:"signature_bytes"`
}

// FieldSize is what all values of one field take, with their framing.
type FieldSize struct {
	Field string `json:"field"`
	Bytes int    `json:"bytes"`
}
