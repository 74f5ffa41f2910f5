package oidc

import (
	"strings"

	"github.com/google/uuid"

	"github.com/onbehalf-dev/onbehalf/bff/internal/wiretext"
)

// The limits of the wire format, which this package repeats so that a refusal
// can name the claim. Beyond them a principal cannot be minted.
const (
	maxText           = 256 // bytes
	maxScopes         = 64
	maxRoles          = 16
	maxMethods        = 16 // amr; the wire format has no limit of its own
	maxAttributes     = 16
	maxAttributeBytes = 1 << 10 // names and values together
	maxServiceName    = 63      // bytes
)

// textProblem says what keeps s out of a principal, or returns "". It is said
// of a claim, and so never repeats s. As JSON or YAML, s is valid UTF-8.
func textProblem(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > maxText:
		return "is longer than 256 bytes"
	case strings.ContainsFunc(s, wiretext.IsHidden):
		return "has a control character"
	default:
		return ""
	}
}

// scopeProblem is textProblem for a scope-token (RFC 6749, section 3.3).
func scopeProblem(s string) string {
	if p := textProblem(s); p != "" {
		return p
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return "has a character that no scope may have"
		}
	}
	return ""
}

// nameProblem is textProblem for the name of an identity. A name that looks
// like another spelling of an id would let one party escape the revocation of
// the other spelling.
func nameProblem(s string) string {
	if p := textProblem(s); p != "" {
		return p
	}
	for _, prefix := range kindPrefixes {
		if strings.HasPrefix(s, prefix) {
			return "starts with the prefix of an id"
		}
	}
	if looksLikeUUID(s) {
		return "is a UUID; set subject.as to uuid"
	}
	return ""
}

func looksLikeUUID(s string) bool {
	const urn = "urn:uuid:"
	if len(s) > len(urn) && strings.EqualFold(s[:len(urn)], urn) {
		s = s[len(urn):]
	}
	if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
		s = s[1 : len(s)-1]
	}
	return uuid.Validate(s) == nil
}

// isServiceName reports whether s is [a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?
func isServiceName(s string) bool {
	if s == "" || len(s) > maxServiceName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alphanumeric := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		inner := i > 0 && i < len(s)-1 && (c == '.' || c == '-')
		if !alphanumeric && !inner {
			return false
		}
	}
	return true
}
