package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing/iotest"
)

// StripHeader is what every request's header goes through.
func StripHeader(h http.Header, credentialHeaders ...string) {
	newStripper(credentialHeaders).strip(h)
}

// ThroughConnect returns what becomes of the body of a Connect stream that is
// read in pieces, and the reason that was in it.
func ThroughConnect(body string, step int) (got, reason string) {
	ctx, cancel := context.WithCancelCause(context.Background())
	x := &exchange{ctx: ctx, cancel: cancel, read: true}
	b := newResponseBody(x, &http.Response{
		ContentLength: -1,
		Header:        http.Header{"Content-Type": {"application/connect+proto"}},
		Body:          io.NopCloser(iotest.OneByteReader(strings.NewReader(body))),
	})
	var out strings.Builder
	_, _ = io.CopyBuffer(struct{ io.Writer }{&out}, b, make([]byte, step))
	return out.String(), x.reason
}
