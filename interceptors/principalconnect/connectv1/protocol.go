package connectv1

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// protocol is what a request speaks, as far as it matters for how its response
// can end.
type protocol uint8

const (
	unary         protocol = iota // Connect without streaming, and whatever else is no stream
	connectStream                 // the end is a message
	grpc                          // the end is in HTTP trailers
	grpcWeb                       // the end is a message
)

func protocolOf(r *http.Request) protocol {
	contentType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	subtype, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(contentType)), "application/")
	name, _, _ := strings.Cut(subtype, "+")
	switch {
	case !ok:
		return unary
	case name == "grpc":
		return grpc
	case name == "grpc-web":
		return grpcWeb
	case strings.HasPrefix(subtype, "connect+"):
		return connectStream
	default:
		return unary
	}
}

// The flags of the messages that end a stream.
const (
	flagConnectEnd = 0b0000_0010
	flagWebTrailer = 0b1000_0000
)

// end ends a response whose status and perhaps some messages have been sent.
// connect-go writes such an end only from inside a handler.
func (p protocol) end(w http.ResponseWriter, code principal.Code, reason principal.Reason) {
	switch p {
	case grpc:
		endGRPC(w.Header(), code, reason)
	case grpcWeb:
		writeMessage(w, flagWebTrailer, webTrailer(code, reason))
	case connectStream:
		writeMessage(w, flagConnectEnd, endOfStream(code, reason))
	case unary:
	}
}

// endGRPC replaces the trailers that the handler may have left.
func endGRPC(h http.Header, code principal.Code, reason principal.Reason) {
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) || strings.HasPrefix(name, "Grpc-") {
			delete(h, name)
		}
	}
	h[http.TrailerPrefix+"Grpc-Status"] = []string{strconv.Itoa(int(code))}
	h[http.TrailerPrefix+"Grpc-Message"] = []string{code.Message()} // plain ASCII: nothing to escape
	if reason != 0 {
		h[http.TrailerPrefix+guard.ReasonHeader] = []string{reason.String()}
	}
}

func webTrailer(code principal.Code, reason principal.Reason) []byte {
	s := fmt.Appendf(nil, "grpc-status: %d\r\ngrpc-message: %s\r\n", code, code.Message())
	if reason != 0 {
		s = fmt.Appendf(s, "%s: %s\r\n", principal.ReasonHeaderName, reason)
	}
	return s
}

func endOfStream(code principal.Code, reason principal.Reason) []byte {
	type failure struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	message := struct {
		Error    failure             `json:"error"`
		Metadata map[string][]string `json:"metadata,omitempty"`
	}{Error: failure{connect.Code(code).String(), code.Message()}}
	if reason != 0 {
		message.Metadata = map[string][]string{principal.ReasonHeaderName: {reason.String()}}
	}
	b, _ := json.Marshal(message) //nolint:errchkjson // strings and a map of them
	return b
}

func writeMessage(w http.ResponseWriter, flags byte, data []byte) {
	message := binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(data)))
	_, _ = w.Write(append(message, data...)) // fails if the client has gone
	_ = http.NewResponseController(w).Flush()
}
