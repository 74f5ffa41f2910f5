package proxy

import (
	"errors"
	"io"
	"net/http"
)

// responseBody is the upstream's body as the ReverseProxy reads it. It lets
// messages through, takes our headers out of trailers that are in the body,
// and gives a stream that breaks off an end in its own protocol.
type responseBody struct {
	io.ReadCloser
	x        *exchange
	res      *http.Response
	protocol protocol
	text     bool // in base64, which is taken off here and put on again
	frames   framer
	last     []byte // the last frame, as far as it came
	complete bool   // nothing more is to come
	out      []byte // goes out next
	err      error  // and then this
}

func newResponseBody(x *exchange, res *http.Response) *responseBody {
	b := &responseBody{ReadCloser: res.Body, x: x, res: res}
	if coding := res.Header.Get("Content-Encoding"); coding == "" || coding == "identity" {
		b.protocol = protocolOf(res.Header.Get("Content-Type"))
	}
	if b.text = b.protocol == grpcWebText; b.text {
		b.protocol, b.ReadCloser = grpcWeb, &textDecoder{ReadCloser: res.Body}
	}
	b.frames = newFramer(b.protocol)
	if res.ContentLength != 0 && b.frames.framed {
		res.ContentLength = -1 // it may end otherwise than announced
		res.Header.Del("Content-Length")
	}
	return b
}

// outward is the body as it goes to the client.
func (b *responseBody) outward() io.ReadCloser {
	if b.text {
		return &textEncoder{ReadCloser: b}
	}
	return b
}

func (b *responseBody) Read(p []byte) (int, error) {
	for {
		if len(b.out) > 0 {
			n := copy(p, b.out)
			b.out = b.out[n:]
			return n, nil
		}
		if b.err != nil {
			return 0, b.err
		}
		n, err := b.ReadCloser.Read(p)
		if n = b.take(p[:n], err); n > 0 {
			return n, nil
		}
	}
}

// take returns how much of p goes out, and sets what follows it.
func (b *responseBody) take(p []byte, err error) int {
	b.x.mu.Lock()
	defer b.x.mu.Unlock()
	if b.complete {
		if len(p) > 0 || err != nil {
			b.err = io.EOF
		}
		return 0
	}
	n := b.pass(p)
	switch {
	case len(b.last) > 0 && b.takeLast():
		if err != nil {
			b.err = io.EOF
		}
	case err == io.EOF && b.last == nil: //nolint:errorlint // readers return it bare
		b.err = io.EOF
	case b.x.ended && b.frames.between() && b.last == nil:
		b.x.cut(ErrEnded)
		b.breakOff(ErrEnded)
	case err != nil && b.err == nil:
		b.breakOff(err)
	}
	return n
}

// pass returns how much of p is of messages, and keeps what is of the last
// frame. After the end of the authority no message begins.
func (b *responseBody) pass(p []byte) int {
	if b.last != nil {
		b.last = append(b.last, p...)
		return 0
	}
	n := 0
	for n < len(p) && (!b.x.ended || !b.frames.between()) {
		if b.frames.last(p[n]) {
			b.last = append(b.last, p[n:]...)
			break
		}
		n += b.frames.advance(p[n:])
	}
	return n
}

// takeLast reports whether the last frame is there, or never will be.
func (b *responseBody) takeLast() bool {
	clean, err := b.x.cleanLast(b.last, b.res.Header, b.protocol)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	b.complete = true
	if b.out = clean; err != nil {
		b.breakOff(err)
	}
	return true
}

// breakOff ends a stream that the upstream did not. A response that has no way
// to say so is aborted, so that it is not taken for complete.
func (b *responseBody) breakOff(err error) {
	a := Unavailable.answer()
	switch {
	case b.x.ended:
		a, err = InvalidCredential.answer(), ErrEnded
	case b.x.clientGone():
		b.err = err
		return
	default:
		b.x.upstreamFails(err)
	}
	b.err = err
	switch b.protocol {
	case grpc:
		b.res.Trailer, b.err = a.trailer(), io.EOF
	case grpcWeb, connectStream:
		if b.frames.between() {
			b.out, b.err = a.lastFrame(b.protocol), io.EOF
		}
	case eventStream:
		if b.x.ended {
			b.err = io.EOF // its client asks again, and is refused
		}
	default: // has no way to say it: the response is broken off
	}
}

// Close does not wait for the client's body as the transport's own does, which
// holds back a status that the upstream sent before the client half-closed
// (golang/go#80085).
func (b *responseBody) Close() error {
	b.x.mu.Lock()
	read := b.x.read
	b.x.mu.Unlock()
	if !read {
		b.x.cancel(nil)
	}
	return b.ReadCloser.Close()
}
