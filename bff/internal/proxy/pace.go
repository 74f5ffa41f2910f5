package proxy

import (
	"net/http"
	"time"
)

const (
	// bodyRate is how many bytes bring a client a second more.
	bodyRate = 1 << 10
	// restWithin is how long the rest of a body may take that nobody wants.
	restWithin = time.Second
)

// pace measures for how long a client lets the edge wait for its body. When the
// upstream is what takes its time, nobody waits for the client; between two
// messages of a stream nobody does either. It is guarded by the exchange's mu.
type pace struct {
	frames  framer
	bytes   int64         // of the body, or of this message
	waited  time.Duration // for them
	since   time.Time     // of the wait that is under way, or zero
	armed   bool
	stop    func() bool
	tooSlow bool
}

// waitForBody notes that the client is waited for. The caller holds mu.
func (x *exchange) waitForBody() {
	p := &x.pace
	// A body whose length was said is no stream that is open for what may come.
	if idle := p.frames.framed && p.frames.between() && x.r.ContentLength <= 0; idle || x.h.patience == 0 {
		return
	}
	p.since = x.h.now()
	if !p.armed {
		x.armPace(x.patienceLeft(p.since))
	}
}

// came notes what the client has sent.
func (p *pace) came(b []byte, now func() time.Time) {
	p.bytes += int64(len(b))
	if !p.since.IsZero() {
		p.waited += now().Sub(p.since)
		p.since = time.Time{}
	}
	if !p.frames.framed {
		return
	}
	for n := 0; n < len(b); {
		n += p.frames.advance(b[n:])
	}
	if p.frames.between() {
		p.bytes, p.waited = 0, 0
	}
}

func (x *exchange) patienceLeft(now time.Time) time.Duration {
	p := &x.pace
	return x.h.patience + time.Duration(p.bytes/bodyRate)*time.Second - p.waited - now.Sub(p.since)
}

// armPace sets the one timer, which looks again later rather than being set for
// each read. The caller holds mu.
func (x *exchange) armPace(after time.Duration) {
	x.pace.armed = true
	x.pace.stop = x.h.afterFunc(after, x.checkPace)
}

func (x *exchange) checkPace() {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := &x.pace
	p.armed = false
	if x.read || x.finished || x.ended || p.since.IsZero() {
		return
	}
	if left := x.patienceLeft(x.h.now()); left > 0 {
		x.armPace(left)
		return
	}
	p.tooSlow = true
	_ = x.rc.SetReadDeadline(past) // the read that waits fails
}

// end stops the timer.
func (p *pace) end() {
	if p.armed {
		p.stop()
	}
}

// BoundAnswer is called before a handler returns: what it has written may still
// lie here, for a client that does not take it, and counts for no limit any more.
// It is within that long, or the stream is ended, of HTTP/1.1 the connection: who
// sends request after request there and reads none of the answers would keep it,
// and what serves it, for ever. The next request that is forwarded lifts it.
func BoundAnswer(w http.ResponseWriter, within time.Duration) {
	if within > 0 {
		end := time.Now().Add(within) //nolint:forbidigo // connections live in real time
		_ = http.NewResponseController(w).SetWriteDeadline(end)
	}
}

// unboundAnswer lifts what [BoundAnswer] has set for the request before.
func (x *exchange) unboundAnswer() {
	if x.r.ProtoMajor == 1 && x.h.stall > 0 {
		_ = x.rc.SetWriteDeadline(time.Time{})
	}
}

// BoundRest is called for a request that is answered although its body has not
// been read to the end. A server of HTTP/1.1 reads what is left of it before the
// connection can be used again, and would wait for as long as the client likes.
func BoundRest(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		rest := time.Now().Add(restWithin) //nolint:forbidigo // connections live in real time
		_ = http.NewResponseController(w).SetReadDeadline(rest)
	}
}
