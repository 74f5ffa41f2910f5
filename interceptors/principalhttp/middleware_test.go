package principalhttp_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalhttp"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// oneConn is a listener for one connection in memory.
type oneConn struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error {
	close(l.closed)
	return nil
}

func (*oneConn) Addr() net.Addr { return &net.UnixAddr{} }

// A connection that has switched to another protocol, such as WebSocket, is
// closed when the principal ends, also if its handler has long returned.
func TestHijackedConnectionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		iss := principaltest.NewIssuer(t)
		mux := http.NewServeMux()
		mux.HandleFunc("GET /socket", func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		})
		guard := iss.Guard("orders", (&principal.Rules{}).WithMethod("GET /socket", principal.AllowAnonymous()))
		srv := &http.Server{Handler: principalhttp.NewMiddleware(guard).Wrap(mux)}
		listener := &oneConn{make(chan net.Conn, 1), make(chan struct{})}
		go func() { _ = srv.Serve(listener) }()
		defer srv.Close()

		client, server := net.Pipe()
		listener.conns <- server
		start := time.Now()
		header := principal.EncodeHeader(iss.Header("orders", principaltest.Human()))
		if _, err := io.WriteString(client, "GET /socket HTTP/1.1\r\nHost: orders\r\nX-Principal-Bin: "+header+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(client)
		for range 2 {
			if _, err := lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(5 * time.Minute)
		if _, err := io.WriteString(client, "ping"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(lines, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if _, err := lines.ReadByte(); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if age := time.Since(start); age != 330*time.Second {
			t.Errorf("the connection lived for %v", age)
		}
	})
}

// What ends before its handler has said anything is refused like any other.
func TestEndBeforeAnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		iss := principaltest.NewIssuer(t)
		mux := http.NewServeMux()
		mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			<-r.Context().Done()
		})
		guard := iss.Guard("orders", (&principal.Rules{}).WithMethod("/slow", principal.AllowAnonymous()))
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/slow", nil)
		r.Header.Set("X-Principal-Bin", principal.EncodeHeader(iss.Header("orders", principaltest.Human())))
		principalhttp.NewMiddleware(guard).Wrap(mux).ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized || w.Body.String() != "unauthenticated\n" || w.Header().Get("X-Principal-Reason") != "time" || w.Header().Get("Content-Encoding") != "" {
			t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
		}
	})
}
