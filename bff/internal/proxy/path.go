package proxy

import (
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"
)

// ErrTarget is returned for a request whose target has more than one reading,
// or none. Answer it with [BadRequest].
var ErrTarget = errors.New("proxy: ambiguous request target")

// canonicalPath returns the one decoded path that routes are matched with and
// that is sent on. Servers and proxies disagree on what dot segments, double
// slashes, backslashes, path parameters, encoded separators and twice-encoded
// characters mean; a rule for /internal is void if the upstream reads another
// path than the edge did (CVE-2026-33494, CVE-2026-33186). Such a target is
// refused, never repaired.
func canonicalPath(r *http.Request) (string, error) {
	switch strings.ToUpper(r.Method) {
	case http.MethodConnect, "PRI": // they ask for a tunnel
		return "", ErrTarget
	case http.MethodTrace, "TRACK": // their answer is the request, principal included
		return "", ErrTarget
	}
	path := r.URL.Path
	if !utf8.ValidString(path) || ambiguousRaw(r.URL.RawPath) || ambiguousBytes(path) || ambiguousSegments(path) {
		return "", ErrTarget
	}
	return path, nil
}

// ambiguousRaw looks for what decoding hides: an encoded slash, and a fragment,
// which is no part of a request target.
func ambiguousRaw(raw string) bool {
	return strings.Contains(raw, "%2f") || strings.Contains(raw, "%2F") || strings.Contains(raw, "#")
}

func ambiguousBytes(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case c < 0x20, c == 0x7f, c == '\\':
			return true
		case c == ';': // servlet containers cut it off: /public/..;/internal
			return true
		case c == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2]): // was encoded twice
			return true
		}
	}
	return false
}

// ambiguousSegments reports whether a segment is empty, "." or "..". Only the
// last one may be empty.
func ambiguousSegments(path string) bool {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok {
		return true
	}
	for more := true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if segment == "." || segment == ".." || segment == "" && more {
			return true
		}
	}
	return false
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}
