package principal

import (
	"encoding/base64"
	"strings"

	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// HeaderName is the name of the one header, or gRPC metadata key, in which a
// principal travels. Its value is binary: grpc-go hands it over decoded, other
// stacks as unpadded standard base64.
const HeaderName = "x-principal-bin"

// ReasonHeaderName is the response header or trailer in which a server says
// why it refused a principal: one value of the closed list of [Reason]. It is
// for the platform's own operators; the edge removes it.
const ReasonHeaderName = "x-principal-reason"

// RequestIDHeaderName is the header that names one external request through
// all services. It is a correlation id, never evidence.
const RequestIDHeaderName = "x-request-id"

// maxHeaderText is the length of the longest header as text, without padding.
const maxHeaderText = wire.MaxHeader / 3 * 4

// IsAlias reports whether an intermediary or a CGI-style server could take a
// header of this name for one of ours. Case and all characters other than
// letters and digits are ignored, and prefixes such as Grpc-Metadata- do not
// hide a name: X_Principal_Bin, x.principal.bin and Trailer-X-Principal-Bin are
// aliases. A header that is an alias is never forwarded from outside.
func IsAlias(name string) bool {
	const folded = "xprincipal"
	matched := 0
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			continue
		}
		switch c {
		case folded[matched]:
			if matched++; matched == len(folded) {
				return true
			}
		case folded[0]: // the only place where a match can begin again: no other letter repeats it
			matched = 1
		default:
			matched = 0
		}
	}
	return false
}

// EncodeHeader returns a header as text for stacks that do not encode binary
// headers themselves: standard base64 without padding.
func EncodeHeader(header string) string {
	return base64.RawStdEncoding.EncodeToString([]byte(header))
}

var strictBase64 = base64.RawStdEncoding.Strict()

// decodeHeader returns the bytes that text stands for. It is strict: standard
// alphabet, no padding or all of it, no white space, no stray trailing bits; a
// lenient decoder would give one header many spellings.
func decodeHeader(text string) (header string, reason Reason) {
	if len(text) > maxHeaderText {
		return "", ReasonSize
	}
	if len(text)%4 == 0 {
		text = strings.TrimSuffix(text, "=")
		text = strings.TrimSuffix(text, "=")
	}
	if strings.ContainsAny(text, "\r\n") { // encoding/base64 skips line ends even when strict
		return "", ReasonMalformed
	}
	decoded, err := strictBase64.DecodeString(text)
	if err != nil {
		return "", ReasonMalformed
	}
	return string(decoded), 0
}
