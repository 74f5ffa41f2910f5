package proxy

import (
	"encoding/binary"
	"maps"
	"net/http"
	"strconv"
)

// Failure is an answer that the edge gives itself. The text that goes with
// each is constant: the cause belongs into the log, not to the caller.
type Failure uint8

// What the edge answers, with the status code of gRPC and of HTTP.
const (
	Internal          Failure = iota // INTERNAL, 500
	BadRequest                       // INVALID_ARGUMENT, 400
	MissingCredential                // UNAUTHENTICATED, 401: none came
	InvalidCredential                // UNAUTHENTICATED, 401: what came is not, or no longer, good
	PermissionDenied                 // PERMISSION_DENIED, 403
	NotFound                         // UNIMPLEMENTED, 404 (in Connect 501)
	TooLarge                         // RESOURCE_EXHAUSTED, 413 (in Connect 429)
	Unavailable                      // UNAVAILABLE, 503
	Overloaded                       // UNAVAILABLE, 503: asked again in a second, it may be served
	TooManyFailures                  // RESOURCE_EXHAUSTED, 429: of credentials that are not good
	TooSlow                          // DEADLINE_EXCEEDED, 408 (in Connect 504): its body does not come
)

type answer struct {
	http, connect, grpc int
	code, text          string
}

var answers = [...]answer{
	Internal:          {500, 500, 13, "internal", "internal error"},
	BadRequest:        {400, 400, 3, "invalid_argument", "malformed request"},
	MissingCredential: {401, 401, 16, "unauthenticated", "a valid credential is required"},
	InvalidCredential: {401, 401, 16, "unauthenticated", "a valid credential is required"},
	PermissionDenied:  {403, 403, 7, "permission_denied", "permission denied"},
	NotFound:          {404, 501, 12, "unimplemented", "no such route"},
	TooLarge:          {413, 429, 8, "resource_exhausted", "the request is too large"},
	Unavailable:       {503, 503, 14, "unavailable", "the service is unavailable, try again later"},
	Overloaded:        {503, 503, 14, "unavailable", "too many requests are under way, try again later"},
	TooManyFailures:   {429, 429, 8, "resource_exhausted", "too many invalid credentials, try again later"},
	TooSlow:           {408, 504, 4, "deadline_exceeded", "the request took too long to arrive"},
}

// retryAfter is when it makes sense to try again, in seconds.
var retryAfter = map[Failure]string{Overloaded: "1", TooManyFailures: "60"}

func (f Failure) answer() answer {
	if int(f) >= len(answers) {
		f = Internal
	}
	return answers[f]
}

// json is Connect's error, and what callers without an RPC protocol get too.
func (a answer) json() string {
	return `{"code":"` + a.code + `","message":"` + a.text + `"}`
}

// trailer is what ends a gRPC stream.
func (a answer) trailer() http.Header {
	return http.Header{"Grpc-Status": {strconv.Itoa(a.grpc)}, "Grpc-Message": {a.text}}
}

// lastFrame is what ends a stream whose trailers are in its body, or nil.
func (a answer) lastFrame(p protocol) []byte {
	switch p {
	case connectStream:
		return frame(connectLast, `{"error":`+a.json()+`}`)
	case grpcWeb:
		return frame(grpcWebLast, "grpc-status: "+strconv.Itoa(a.grpc)+"\r\ngrpc-message: "+a.text+"\r\n")
	default:
		return nil
	}
}

func frame(flag byte, payload string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(payload)))
	return append(b, payload...)
}

// WriteError answers r in the protocol that it came in: trailers only for gRPC
// and gRPC-Web, a JSON error for Connect, an end-of-stream message for
// Connect's streams, and for all others JSON under a plain HTTP status.
//
// A 401 carries WWW-Authenticate as RFC 6750 has it, without an error if no
// credential came. A challenge that is set in w's header already is kept.
func WriteError(w http.ResponseWriter, r *http.Request, f Failure) {
	h, a := w.Header(), f.answer()
	h.Set("Cache-Control", "no-store")
	switch p := requestProtocol(r); p {
	case grpc, grpcWeb, grpcWebText:
		h.Set("Content-Type", answerType(r, "application/grpc"))
		maps.Copy(h, a.trailer())
		w.WriteHeader(http.StatusOK)
	case connectStream:
		h.Set("Content-Type", answerType(r, "application/connect+proto"))
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(a.lastFrame(p))
	case connectUnary:
		writeJSON(w, f, a.connect)
	default:
		writeJSON(w, f, a.http)
	}
}

func writeJSON(w http.ResponseWriter, f Failure, status int) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	if _, set := h["Www-Authenticate"]; status == http.StatusUnauthorized && !set {
		challenge := "Bearer"
		if f == InvalidCredential {
			challenge = `Bearer error="invalid_token"`
		}
		h.Set("WWW-Authenticate", challenge)
	}
	if after, ok := retryAfter[f]; ok {
		h.Set("Retry-After", after)
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(f.answer().json()))
}
