package proxy

import (
	"net/http"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// Headers that an upstream may take for the word of the proxy before it: who
// the user is, which host or path was meant, where the request came from. All
// names are folded, because servers of the CGI kind read X_Real.IP and
// X-Real-IP as one variable.
var (
	trustedNames = []string{
		"forwarded", "xrealip", "xclientip", "trueclientip", "xclusterclientip", "cfconnectingip",
		"remoteuser", "remotegroups", "remoteemail", "remotename", "xremoteuser", "xremotegroup", "xwebauthuser",
		"xuser", "xuserid", "xusername", "xuseremail", "xusergroups", "xuserrole", "xuserroles", "xuserscopes", // not X-User-Agent of gRPC-Web
		"xrewriteurl", "clientcert", "clientcertchain", "xclientcert", "sslclientcert", "xgoogiapjwtassertion", "txntoken",
		"proxy",         // read as the environment's HTTP_PROXY
		"http2settings", // asks for a tunnel
		"xrequestid",    // ours
		// Framing is set anew by the transport; an alias would be believed by a server that folds.
		"contentlength", "transferencoding", "host",
	}
	trustedPrefixes = []string{
		"xforwarded", "xauthrequest", "xoriginal", "xenvoy", "xsslclient", "xremoteextra", "impersonate",
		"xgoogauthenticateduser", "xamznoidc", "xmsclientprincipal", "xmstoken", "cfaccess", "xpomerium", "tailscaleuser",
	}
	// The credential stays at the edge: a service that sees it can use it.
	credentialNames = []string{"Authorization", "Proxy-Authorization", "DPoP"}
	// Gateways hand headers on under these prefixes, and take them off again.
	transparentPrefixes = []string{"grpcmetadata", "grpctrailer"}
)

// stripper removes from a request what must not come from outside.
type stripper struct {
	folded map[string]bool
}

func newStripper(credentialHeaders []string) stripper {
	s := stripper{folded: make(map[string]bool)}
	for _, name := range slices.Concat(trustedNames, credentialNames, credentialHeaders) {
		s.folded[string(fold(nil, name))] = true
	}
	return s
}

func (s stripper) strip(h http.Header) {
	var buf [64]byte
	for name := range h {
		if principal.IsAlias(name) || s.refuses(fold(buf[:0], name)) {
			delete(h, name)
		}
	}
}

func (s stripper) refuses(name []byte) bool {
	for trimmed := true; trimmed; {
		trimmed = false
		for _, prefix := range transparentPrefixes {
			if hasPrefix(name, prefix) {
				name, trimmed = name[len(prefix):], true
			}
		}
	}
	return s.folded[string(name)] ||
		slices.ContainsFunc(trustedPrefixes, func(prefix string) bool { return hasPrefix(name, prefix) })
}

func hasPrefix(name []byte, prefix string) bool {
	return len(name) >= len(prefix) && string(name[:len(prefix)]) == prefix
}

// fold appends the letters and digits of name, in lower case: what is left of
// it in a server that makes variables of headers.
func fold(dst []byte, name string) []byte {
	for i := range len(name) {
		switch c := name[i]; {
		case 'A' <= c && c <= 'Z':
			dst = append(dst, c+'a'-'A')
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			dst = append(dst, c)
		}
	}
	return dst
}

// Smuggled returns how many values in the header, and names in the announced
// trailer, of r could be taken for ours. Somebody put them there: it belongs
// into the audit record of every request, also of one that is not forwarded.
func Smuggled(r *http.Request) int {
	n := aliases(r.Trailer)
	for name, values := range r.Header {
		if principal.IsAlias(name) {
			n += len(values)
		}
	}
	return n
}

func aliases(trailer http.Header) int {
	n := 0
	for name := range trailer {
		if principal.IsAlias(name) {
			n++
		}
	}
	return n
}

// onlyGzip limits what the body of a stream may be compressed with to what its
// last frame can be read in, see lastFrame.
func onlyGzip(h http.Header, p protocol) {
	var name string
	switch p {
	case connectStream:
		name = "Connect-Accept-Encoding"
	case grpcWeb, grpcWebText:
		name = "Grpc-Accept-Encoding"
	default:
		return
	}
	gzip := false
	for _, value := range h[name] {
		for coding := range strings.SplitSeq(value, ",") {
			gzip = gzip || strings.EqualFold(strings.TrimSpace(coding), "gzip")
		}
	}
	h.Del(name)
	if gzip {
		h.Set(name, "gzip")
	}
	h.Del("Accept-Encoding") // compresses the frames out of sight
}
