package observed

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// inWords is how a decision begins that slog.TextHandler has written, or slog's
// default logger, whose times are local ones.
var inWords = regexp.MustCompile(`^(?:time=(\S+) level=(?:INFO|WARN) msg=principal|(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)(?:\.\d+)? (?:INFO|WARN) principal) (service=.*)$`)

// parseText reads a line of words, key=value, that may be quoted.
func parseText(data []byte) (line, kind) {
	if !bytes.Contains(data, []byte("principal service=")) {
		return line{}, other
	}
	parts := inWords.FindSubmatch(data)
	if parts == nil {
		return line{}, other
	}
	l := line{Msg: "principal"}
	if len(parts[1]) > 0 {
		l.Time, _ = time.Parse(time.RFC3339Nano, string(parts[1]))
	} else {
		l.Time, _ = time.ParseInLocation("2006/01/02 15:04:05", string(parts[2]), time.Local) //nolint:gosmopolitan // it is what slog writes
	}
	for rest := string(parts[3]); rest != ""; {
		key, value, ok := word(&rest)
		if !ok {
			return line{}, corrupt
		}
		l.set(key, value)
	}
	if !l.complete(l.Msg) {
		return line{}, corrupt
	}
	return l, decision
}

// word takes the first key and its value off rest.
func word(rest *string) (key, value string, ok bool) {
	key, after, ok := strings.Cut(*rest, "=")
	if !ok || strings.ContainsAny(key, " \"") {
		return "", "", false
	}
	if !strings.HasPrefix(after, `"`) {
		value, *rest, _ = strings.Cut(after, " ")
		return key, value, true
	}
	quoted, err := strconv.QuotedPrefix(after)
	if err != nil {
		return "", "", false
	}
	after = after[len(quoted):]
	if after != "" && after[0] != ' ' {
		return "", "", false
	}
	*rest = strings.TrimPrefix(after, " ")
	value, err = strconv.Unquote(quoted)
	return key, value, err == nil
}

// set takes over a value by the name that it has in words.
func (l *line) set(key, value string) {
	for name, field := range map[string]*string{
		"service": &l.Service, "method": &l.Method, "decision": &l.Decision, "reason": &l.Reason, "rule": &l.Rule,
		"peer": &l.Peer, "certificate": &l.Certificate, "address": &l.Address, "user_agent": &l.UserAgent, "request_id": &l.RequestID,
		"principal.id": &l.Principal.ID, "principal.kind": &l.Principal.Kind, "principal.subject": &l.Principal.Subject, "principal.issuer": &l.Principal.Issuer,
	} {
		if name == key {
			*field = value
			return
		}
	}
	switch key {
	case "renewal":
		l.Renewal = value == "true"
	case "principal.path":
		l.Principal.Path = listOf(value)
	case "principal.scopes":
		l.Principal.Scopes = listOf(value)
	}
}

// listOf reads a list as fmt prints it; no element has a space.
func listOf(value string) []string {
	return strings.Fields(strings.TrimSuffix(strings.TrimPrefix(value, "["), "]"))
}
