package proxy

import (
	"net/http"
	"strings"
)

// protocol is what a caller speaks, as far as answers and streams differ.
type protocol uint8

const (
	plain protocol = iota
	grpc
	grpcWeb
	grpcWebText // the same in base64
	connectUnary
	connectStream
	eventStream
)

// protocolOf returns what the sender of a message of this content type speaks.
func protocolOf(contentType string) protocol {
	t := mediaType(contentType)
	switch {
	case isOrExtends(t, "application/grpc"):
		return grpc
	case isOrExtends(t, "application/grpc-web"):
		return grpcWeb
	case isOrExtends(t, "application/grpc-web-text"):
		return grpcWebText
	case strings.HasPrefix(t, "application/connect+"):
		return connectStream
	case t == "application/proto":
		return connectUnary
	case t == "text/event-stream":
		return eventStream
	}
	return plain
}

func requestProtocol(r *http.Request) protocol {
	p := protocolOf(r.Header.Get("Content-Type"))
	if p != plain {
		return p
	}
	if r.Header.Get("Connect-Protocol-Version") != "" ||
		r.Method == http.MethodGet && strings.Contains("&"+r.URL.RawQuery+"&", "&connect=v1&") {
		return connectUnary
	}
	return plain
}

// streams reports whether a response of p may begin long after its request.
func (p protocol) streams() bool {
	return p != plain && p != connectUnary
}

func mediaType(contentType string) string {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

func isOrExtends(mediaType, base string) bool {
	rest, ok := strings.CutPrefix(mediaType, base)
	return ok && (rest == "" || rest[0] == '+')
}

// answerType returns the content type of an answer to r: clients insist on the
// codec that they asked with. Anything but a short, plain name becomes base.
func answerType(r *http.Request, base string) string {
	t := mediaType(r.Header.Get("Content-Type"))
	if len(t) > 64 || strings.ContainsFunc(t, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("/+-.", c)
	}) {
		return base
	}
	return t
}
