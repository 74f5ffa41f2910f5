package principal

import "strings"

// TraceID returns the trace id of a traceparent header as W3C Trace Context has
// it (section 3.2), or "" if it is not exactly so. Records of the edge and of
// services are joined by it.
func TraceID(traceparent []string) string {
	if len(traceparent) != 1 {
		return ""
	}
	s := traceparent[0]
	const length = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return ""
	}
	version, trace, parent, flags := s[:2], s[3:35], s[36:52], s[53:55]
	switch {
	case !isHex(version), version == "ff", !isHex(flags),
		version == "00" && len(s) != length,
		len(s) > length && s[length] != '-',
		!isHex(trace), strings.Trim(trace, "0") == "",
		!isHex(parent), strings.Trim(parent, "0") == "":
		return ""
	}
	return trace
}

// isHex reports whether s has lower-case hexadecimal digits only.
func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
