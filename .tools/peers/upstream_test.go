package peers_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// upstream is a service behind the edge that verifies nothing and notes what
// reaches it, as HTTP/1.1 and as HTTP/2. It answers with what it got: messages of
// gRPC one by one, and the principal where it must not come out (A13).
type upstream struct {
	address string

	mu    sync.Mutex
	seen  []*http.Request
	ended chan string // paths of streams whose client has ended them, or has gone
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{ended: make(chan string, 64)}
	s := httptest.NewUnstartedServer(u)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	u.address = s.Listener.Addr().String()
	return u
}

// ServeHTTP implements [http.Handler].
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.seen = append(u.seen, r.Clone(r.Context()))
	u.mu.Unlock()
	h := w.Header()
	h.Set(principal.HeaderName, r.Header.Get(principal.HeaderName))
	h.Set("X-Seen-Path", r.URL.Path)
	defer func() {
		h.Set(http.TrailerPrefix+principal.HeaderName, r.Header.Get(principal.HeaderName))
		h.Set(http.TrailerPrefix+"Grpc-Status", "0")
	}()
	if r.ProtoMajor < 2 {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %q %v", r.Method, r.URL.Path, body, err)
		return
	}
	h.Set("Content-Type", "application/grpc")
	_ = http.NewResponseController(w).Flush()
	for buf := make([]byte, 4096); ; {
		n, err := r.Body.Read(buf)
		_, _ = w.Write(buf[:n])
		_ = http.NewResponseController(w).Flush()
		if err != nil {
			select {
			case u.ended <- r.URL.Path:
			default: // nobody is interested
			}
			return
		}
	}
}

// take returns what came since it was called last.
func (u *upstream) take() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return slices.Clone(seen)
}
