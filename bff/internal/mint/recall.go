package mint

import "net/http"

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
	s, ok := m.known.Get(hash(m.credentialHeaders, credential))
	if !ok {
		return true, false
	}
	now := m.Now()
	return true, !now.Before(s.from) && now.Before(s.result.ExpiresAt) && !s.revoked(m.Revocations)
}
