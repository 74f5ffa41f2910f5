package mint

import "net/http"

// acquaintance is what is left of a session that another minter had: that its
// credential was verified. No principal is made from it.
type acquaintance struct {
	authority
	span
}

// Acquaint tells m whom another minter knows, which has the same authenticators
// and issuers but other routes or limits: so that a reload does not make strangers
// of all clients at once. Only [Minter.Recall] goes by it, until their credentials
// end; each is verified anew when it is used.
func (m *Minter) Acquaint(other *Minter) {
	for key, a := range other.met.All() {
		m.met.Put(key, a)
	}
	for key, s := range other.known.All() {
		m.met.Put(key, &acquaintance{
			authority: authority{targets: s.targets, issued: s.issued}, span: s.credential(),
		})
	}
}

// Recall reports whether h may hold a credential at all, and whether that is
// known: it was verified, is remembered, has not ended and is not revoked. It
// verifies nothing and waits for nothing, so that who is not known can be turned
// away at little cost. To be known is not to be let in: the time for which a
// verification counts may be over.
func (m *Minter) Recall(h http.Header) (present, known bool) {
	credential := m.credential(h)
	if len(credential) == 0 {
		return false, false
	}
	key, now := hash(m.credentialHeaders, credential), m.Now()
	if s, ok := m.known.Get(key); ok {
		return true, s.credential().covers(now) && !s.revoked(m.Revocations)
	}
	a, ok := m.met.Get(key)
	return true, ok && a.covers(now) && !a.revoked(m.Revocations)
}

// credential is for how long that of s holds, which may be beyond s.
func (s *session) credential() span { return span{s.from, s.result.ExpiresAt} }
