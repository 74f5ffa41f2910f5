package inspect

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/onbehalf-dev/onbehalf/principal"
)

var (
	errMany   = errors.New("several x-principal-bin headers; services refuse that (multiple): give one of them")
	errNone   = errors.New("no header; give the value of x-principal-bin as base64, or as it stands in a request")
	errBase64 = errors.New("not base64; give the value of x-principal-bin, whole, as base64")
)

const odd = "services refuse this spelling (malformed): they take standard base64 without padding, or with all of it; what follows is about its bytes"

// Decode returns the bytes of a header that somebody has copied from somewhere:
// base64 in either alphabet, padded or not, broken into lines or not, alone or
// in a line "x-principal-bin: …" among other headers. Where it is more lenient
// than services are, note says so. Errors never repeat the text.
func Decode(text string) (header, note string, err error) {
	value, err := find(text)
	if err != nil {
		return "", "", err
	}
	bare := strings.TrimRight(strings.Join(strings.Fields(value), ""), "=")
	bare = strings.NewReplacer("-", "+", "_", "/").Replace(bare)
	data, err := base64.RawStdEncoding.DecodeString(bare)
	if err != nil {
		return "", "", errBase64
	}
	header = string(data)
	if value != principal.EncodeHeader(header) && value != base64.StdEncoding.EncodeToString(data) {
		note = odd
	}
	return header, note, nil
}

// find returns the value of the one header in text, or all of text if no line
// names it.
func find(text string) (value string, err error) {
	text = strings.TrimSpace(text)
	found := 0
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(strings.Trim(name, "<>*'\" \t"), principal.HeaderName) {
			value = strings.Trim(rest, "'\" \t\r\n")
			found++
		}
	}
	switch {
	case found > 1 || strings.Contains(value, ","):
		return "", errMany
	case found == 1 && value == "", text == "":
		return "", errNone
	case found == 1:
		return value, nil
	case strings.Contains(text, ","):
		return "", errMany
	default:
		return text, nil
	}
}
