// Package mint turns credentials into signed principals.
//
// A [Minter] remembers, for a short window, what was found out about a
// credential and what was signed for it, so that most requests cost neither a
// verification nor a signature. Credentials are remembered by their SHA-256, never
// as such. What can end in between (the credential, the principal) is compared
// with the clock on every request.
//
// A window is also how long a credential is still good after its issuer has
// taken it back. What the edge itself has revoked ends at once: what is
// remembered is compared with the revocations on every request too.
package mint

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/internal/enrichment"
	"github.com/onbehalf-dev/onbehalf/bff/internal/metrics"
	"github.com/onbehalf-dev/onbehalf/bff/internal/recent"
)

const (
	// verifyTimeout bounds a verification that waits for keys. It serves all who
	// wait for it, so it does not end with the request that began it.
	verifyTimeout = 10 * time.Second
	// unenrichedWindow is how long a result is remembered to which nothing could be
	// added: soon after the enricher answers again, principals have its facts.
	unenrichedWindow = 5 * time.Second
	// spare is how long a principal from the cache is valid at least: services
	// pass it on, and their clocks may be ahead.
	spare = 60 * time.Second
)

// ErrSigning says that no principal could be signed. The request must not go on
// without one.
var ErrSigning = errors.New("mint: signing failed")

// ErrVerifying says that an authenticator could not be asked.
var ErrVerifying = errors.New("mint: the credential could not be verified")

// ErrEnriching says that what is to be added to a principal cannot be had. It
// wraps an [*enrichment.Error], which says why.
var ErrEnriching = errors.New("mint: the principal could not be enriched")

// Spec says what a route's principals are like. It is comparable: routes with
// the same one share them.
type Spec struct {
	// Audience is a trust domain or, in linked mode, a service name.
	Audience string
	// Linked says which.
	Linked bool
	// MaxLinks is how many links may follow, in linked mode.
	MaxLinks uint32
	// PerRequest asks for a principal of its own for each request, with a
	// transaction id.
	PerRequest bool
}

// Minted is a principal that was signed. It is shared and must not be modified.
type Minted struct {
	authority

	// Header is the value of x-principal-bin, as text.
	Header string
	// Principal is what was signed, but for what the signer adds: the issuer and
	// the commitment.
	Principal *principalv1.Principal
	// Issuer is who issued the credential, if that is known.
	Issuer string
	// Until is when the credential ends.
	Until time.Time
	// Unenriched says why nothing was added to the principal though it should have
	// been; usually it is empty.
	Unenriched string
}

// Signer signs principals. [principal.Signer] is one.
type Signer interface {
	Sign(p *principalv1.Principal) (header string, err error)
}

// Revocations is what the edge knows of revoked things. It is asked on every
// request.
type Revocations interface {
	// Sequence returns up to where everything is known.
	Sequence() uint64
	// Generation changes with each revocation, after Revoked says so.
	Generation() uint64
	// Revoked reports whether t has been revoked for credentials that were
	// issued at a time, zero if that is not known.
	Revoked(t revocation.Target, issued time.Time) bool
}

// Settings are those of a [Minter]. All but Enrichment and Metrics are required.
type Settings struct {
	Authenticator authn.Authenticator
	// Enrichment adds to what the authenticator finds, once in a window; nil:
	// nothing is added. What the edge itself vouches for ([Minter.Issue]) stays as
	// it is.
	Enrichment  *enrichment.Source
	Signer      Signer
	Revocations Revocations
	// Memory is how long revocations are remembered. A credential that was issued
	// before that is refused: it could have been revoked.
	Memory time.Duration
	// Issuer is the name in which the signer signs.
	Issuer string
	// Presenter is the service name of the edge, which linked principals carry.
	Presenter string
	// Life is how long a principal is valid at most, in whole seconds.
	Life time.Duration
	// Window is how long results are remembered.
	Window time.Duration
	// Entries is how many credentials are remembered.
	Entries int
	// Metrics may be nil.
	Metrics *metrics.Metrics
	Now     func() time.Time
}

// Minter mints for one configuration of routes. It is safe for concurrent use.
type Minter struct {
	Settings

	credentialHeaders []string
	known             *recent.Map[credentialKey, *session]
	met               *recent.Map[credentialKey, *acquaintance] // by another minter
	flights           singleflight.Group
}

// New returns a minter.
func New(s Settings) *Minter {
	return &Minter{
		Settings: s, credentialHeaders: s.Authenticator.CredentialHeaders(),
		known: recent.New[credentialKey, *session](s.Entries), met: recent.New[credentialKey, *acquaintance](s.Entries),
	}
}

// Mint returns a principal for the credential in h. Its error is
// [authn.ErrNoCredential] or an [*authn.Error] as the authenticator returned it;
// an error of the latter type for a credential with no time left; or wraps
// [ErrSigning], [ErrVerifying] or [ErrEnriching].
func (m *Minter) Mint(ctx context.Context, h http.Header, spec Spec) (*Minted, error) {
	s, err := m.session(ctx, h)
	if err != nil {
		return nil, err
	}
	now := m.Now()
	if spec.PerRequest {
		return m.sign(s, spec, now)
	}
	return s.minted(spec, now, m)
}

// Issue mints a principal for what the edge itself vouches for: result is not
// modified and not remembered. A transaction that it names stays the same.
func (m *Minter) Issue(result *authn.Result, spec Spec) (*Minted, error) {
	s := m.newSession(result, span{}, "")
	s.transaction = result.Principal.GetTransactionId()
	return m.sign(s, spec, m.Now())
}

// session returns what is known of the credential in h. Requests with the same
// one wait for one verification.
func (m *Minter) session(ctx context.Context, h http.Header) (*session, error) {
	credential := m.credential(h)
	if len(credential) == 0 {
		return m.verify(ctx, h) // most authenticators then say that there is none
	}
	key := hash(m.credentialHeaders, credential)
	s, ok := m.known.Get(key)
	hit := ok && s.covers(m.Now())
	m.Metrics.Looked(hit)
	if hit {
		return s, nil
	}
	// In the goroutine of the request: to hand a new token to another one and back
	// costs more than reading it. So a request whose client has left stays until
	// what it began for others is done, verifyTimeout at most.
	shared, err, _ := m.flights.Do(string(key[:]), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), verifyTimeout)
		defer cancel()
		s, err := m.verify(ctx, credential)
		switch _, refused := errors.AsType[*authn.Error](err); {
		case err == nil && s.covers(s.from):
			m.known.Put(key, s)
		case refused:
			m.known.Drop(key) // its issuer may have taken it back
			m.met.Drop(key)
		}
		return s, err
	})
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", ErrVerifying, ctx.Err())
	case err != nil:
		return nil, err
	default:
		return shared.(*session), nil //nolint:errcheck // what the flight returns
	}
}

// credential returns the part of h that may hold credentials. No other part is
// shown to an authenticator, so the result depends on nothing else.
func (m *Minter) credential(h http.Header) http.Header {
	var part http.Header
	for _, name := range m.credentialHeaders {
		if values := h[name]; len(values) > 0 {
			if part == nil {
				part = make(http.Header, 1)
			}
			part[name] = values
		}
	}
	return part
}

// credentialKey is the hash of a credential.
type credentialKey = [sha256.Size]byte

// hash names a credential. Counts and lengths go first, so that two never look
// the same.
func hash(names []string, credential http.Header) credentialKey {
	buf := make([]byte, 0, 2048)
	for _, name := range names {
		values := credential[name]
		buf = binary.AppendUvarint(buf, uint64(len(values)))
		for _, value := range values {
			buf = binary.AppendUvarint(buf, uint64(len(value)))
			buf = append(buf, value...)
		}
	}
	return sha256.Sum256(buf)
}

// verify asks the authenticator. A panic in it ends one request, not the edge.
func (m *Minter) verify(ctx context.Context, credential http.Header) (s *session, err error) {
	defer func() {
		if recover() != nil { // its value may hold anything
			s, err = nil, fmt.Errorf("%w: the authenticator panicked", ErrVerifying)
		}
	}()
	now := m.Now()
	result, err := m.Authenticator.Authenticate(ctx, credential)
	switch _, refused := errors.AsType[*authn.Error](err); {
	case errors.Is(err, authn.ErrNoCredential), refused:
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrVerifying, err)
	case result == nil || result.Principal == nil:
		return nil, fmt.Errorf("%w: the authenticator returned nothing", ErrVerifying)
	}
	until := now.Add(m.Window)
	if result.ExpiresAt.Before(until) {
		until = result.ExpiresAt
	}
	result, unenriched, err := m.enrich(ctx, result)
	if err != nil {
		return nil, err
	}
	if soon := now.Add(unenrichedWindow); unenriched != "" && soon.Before(until) {
		until = soon
	}
	return m.newSession(result, span{from: now, until: until}, unenriched), nil
}

// enrich returns result with roles and attributes added, and with everything else
// as it was: above all the scopes. It says why nothing could be added.
func (m *Minter) enrich(ctx context.Context, result *authn.Result) (enriched *authn.Result, unenriched string, err error) {
	if m.Enrichment == nil {
		return result, "", nil
	}
	facts, unenriched, err := m.Enrichment.Facts(ctx, result.Issuer, result.Principal)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrEnriching, err)
	}
	own := *result
	own.Principal = proto.CloneOf(result.Principal)
	own.Principal.Roles, own.Principal.Attributes = facts.Roles, facts.Attributes
	return &own, unenriched, nil
}

func (m *Minter) newSession(result *authn.Result, valid span, unenriched string) *session {
	return &session{result: result, unenriched: unenriched, span: valid, authority: authority{
		targets: targetsOf(result.Principal, m.Issuer), issued: result.IssuedAt,
	}}
}

// sign mints one principal. It ends with its credential at the latest; a second
// that the credential does not have in full is not used. The sequence is read
// before the revocations are asked: what is revoked in between kills it.
func (m *Minter) sign(s *session, spec Spec, now time.Time) (*Minted, error) {
	result, sequence := s.result, m.Revocations.Sequence()
	switch {
	case s.revoked(m.Revocations):
		return nil, errRevoked
	case !s.issued.IsZero() && now.Sub(s.issued) > m.Memory:
		return nil, &authn.Error{Reason: authn.ReasonTime, Detail: "issued before revocations are remembered"}
	}
	issued, end := now.Unix(), result.ExpiresAt.Unix()
	expires := min(issued+int64(m.Life/time.Second), end)
	if expires <= issued {
		return nil, &authn.Error{Reason: authn.ReasonTime, Detail: "no time left"}
	}
	p := proto.CloneOf(result.Principal)
	id := random()
	p.Id, p.Issuer, p.Commitment, p.RevocationSequence = id, "", nil, sequence
	p.IssuedAt, p.ExpiresAt, p.StreamUntil = issued, expires, end
	p.Audience, p.Presenter, p.MaxLinks, p.TransactionId = spec.Audience, "", 0, s.transaction
	if spec.Linked {
		p.Presenter, p.MaxLinks = m.Presenter, spec.MaxLinks
	}
	if spec.PerRequest {
		p.TransactionId = random()
	}
	header, err := m.Signer.Sign(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSigning, err)
	}
	targets := append(slices.Clip(s.targets), revocation.Principal(m.Issuer, principal.ID(id)))
	var signed principalv1.SignedPrincipal
	if err := proto.Unmarshal([]byte(header), &signed); err == nil { // what a signer made up for a test is no message
		targets = append(targets, revocation.Key(principal.KeyRef{
			Role: principal.RoleAuthority, Owner: m.Issuer, ID: signed.GetAuthority().GetKeyId(),
		}))
	}
	return &Minted{
		Header: principal.EncodeHeader(header), Principal: p, Issuer: result.Issuer, Until: result.ExpiresAt,
		Unenriched: s.unenriched, authority: authority{targets: targets, issued: s.issued},
	}, nil
}

func random() []byte {
	id := make([]byte, len(principal.ID{}))
	rand.Read(id)
	return id
}
