package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const trustDomainPrefix = "mesh:"

// IsServiceName reports whether s is a service name:
// [a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?
func IsServiceName(s string) bool {
	if len(s) == 0 || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		inner := i > 0 && i < len(s)-1 && (c == '.' || c == '-')
		if !alnum && !inner {
			return false
		}
	}
	return true
}

// IsTrustDomain reports whether s is mesh: followed by a name that follows the
// grammar of service names.
func IsTrustDomain(s string) bool {
	name, ok := strings.CutPrefix(s, trustDomainPrefix)
	return ok && IsServiceName(name)
}

// IsKeyID reports whether s is 1 to 32 characters of [A-Za-z0-9_-].
func IsKeyID(s string) bool {
	if len(s) == 0 || len(s) > maxKeyID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// IsText reports whether s can stand in a text field: 1 to MaxString bytes of
// UTF-8 without control characters.
func IsText(s string) bool { return textProblem(s) == "" }

// textProblem says why s is not 1 to MaxString bytes of UTF-8 without control
// characters, or returns "". Characters that reverse or hide text count as
// control characters: a name that shows as another one deceives every reader
// of a log.
func textProblem(s string) string {
	if len(s) == 0 {
		return "is empty"
	}
	if len(s) > MaxString {
		return "is longer than 256 bytes"
	}
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			return unicodeProblem(s[i:])
		}
	}
	return ""
}

func unicodeProblem(s string) string {
	if !utf8.ValidString(s) {
		return "is not valid UTF-8"
	}
	for _, r := range s {
		if r == '\ufeff' || r == '\u2028' || r == '\u2029' || unicode.In(r, unicode.Cc, unicode.Bidi_Control) {
			return "has a control character"
		}
	}
	return ""
}

// scopeProblem says why s is not a scope-token of RFC 6749, section 3.3, of at
// most MaxString bytes, or returns "". With a space in it one scope here would
// be two for whoever joins scopes by spaces, as OAuth does.
func scopeProblem(s string) string {
	if p := textProblem(s); p != "" {
		return p
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return "has a character that no scope may have"
		}
	}
	return ""
}

// nameProblem says why s cannot be the name of an identity, or returns "". A
// name that looks like another spelling of an id would let one party evade the
// revocation of the other spelling.
func nameProblem(s string) string {
	if p := textProblem(s); p != "" {
		return p
	}
	for _, prefix := range [...]string{"hm-", "am-", "svc-"} {
		if strings.HasPrefix(s, prefix) {
			return "starts with the prefix of an id"
		}
	}
	if looksLikeUUID(s) {
		return "is a UUID: carry it as 16 bytes"
	}
	return ""
}

func looksLikeUUID(s string) bool {
	const urn = "urn:uuid:"
	switch {
	case len(s) > len(urn) && strings.EqualFold(s[:len(urn)], urn):
		s = s[len(urn):]
	case len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}':
		s = s[1 : len(s)-1]
	}
	hyphens := len(s) == 36
	if !hyphens && len(s) != 32 {
		return false
	}
	for i := range len(s) {
		if hyphens && (i == 8 || i == 13 || i == 18 || i == 23) {
			if s[i] != '-' {
				return false
			}
			continue
		}
		c := s[i] | 0x20
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// IdentityProblem says why i is not an identity as a principal carries one,
// under the name of an issuer, or returns "".
func IdentityProblem(i *Identity) string {
	if p := textProblem(i.Issuer); p != "" {
		return "issuer " + p
	}
	switch i.Spelling {
	case HumanUUID, AgentUUID:
		return ""
	case HumanName, AgentName:
		return nameProblem(i.Name)
	case ServiceName:
		return serviceIdentityProblem(i.Name)
	default:
		return "is nobody"
	}
}
