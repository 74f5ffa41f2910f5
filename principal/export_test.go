package principal

import "github.com/onbehalf-dev/onbehalf/principal/internal/wire"

// NarrowForTest is the pure narrowing of one link; nil scopes inherit.
func NarrowForTest(scopes, roles []string, link *[]string) ([]string, []string, bool) {
	l := wire.Link{}
	if link != nil {
		l.HasScopes, l.Scopes = true, *link
	}
	return narrow(scopes, roles, &l)
}

// DecodeHeaderForTest is the strict base64 of text transports.
func DecodeHeaderForTest(text string) (string, Reason) { return decodeHeader(text) }

// PermitsForTest says what a rule says of a principal.
func PermitsForTest(r *Rules, method string, p *Principal) Reason { return r.find(method).permits(p) }
