package proxy

import (
	"net/http"
	"sync/atomic"
	"time"
)

// Protocol returns what the client of r speaks: http, grpc, grpc_web or connect.
func Protocol(r *http.Request) string {
	switch requestProtocol(r) {
	case grpc:
		return "grpc"
	case grpcWeb, grpcWebText:
		return "grpc_web"
	case connectUnary, connectStream:
		return "connect"
	case plain, eventStream:
	}
	return "http"
}

// measured is what an exchange tells about its answer.
type measured struct {
	answering *atomic.Int64 // that counts it as long as it goes on, or nil
	began     time.Time     // when the upstream's header was there
	stream    bool
	failing   bool // of the upstream: it gave no answer, or broke it off
}

// answerBegins notes when, and what kind of answer it is. A unary call of gRPC
// looks like a stream and is taken for one: its answer begins when it ends.
func (x *exchange) answerBegins(res *http.Response) {
	x.began = x.h.now()
	x.stream = x.protocol.streams() || res.StatusCode == http.StatusSwitchingProtocols ||
		protocolOf(res.Header.Get("Content-Type")) == eventStream
	if x.h.answering != nil {
		x.answering = x.h.answering
		x.answering.Add(1)
	}
}

func (x *exchange) upstreamFails(err error) {
	x.failing = true
	x.h.faults.report(err)
}

// measure is called once, in the end.
func (x *exchange) measure(out *Outcome) {
	if x.answering != nil {
		x.answering.Add(-1)
	}
	out.Answered, out.Stream, out.Failed = x.began, x.stream, x.failing
}
