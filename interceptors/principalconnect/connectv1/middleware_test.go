package connectv1_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect/connectv1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

func envelope(flags byte, message string) string {
	return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(message)))) + message
}

// What a stream has sent when it ends decides how its end can be written. The
// ordinary cases are in the tests that all transports share.
func TestEndOfStream(t *testing.T) {
	t.Parallel()
	message := envelope(0, "x")
	for _, c := range []struct {
		name, contentType, sent string
		want                    string // body
		trailer                 string // grpc-status
		aborted                 bool
	}{
		{name: "connect, nothing sent", contentType: "application/connect+proto", want: envelope(2,
			`{"error":{"code":"unauthenticated","message":"unauthenticated"},"metadata":{"X-Principal-Reason":["time"]}}`)},
		{name: "connect, a message", contentType: "application/connect+json; charset=utf-8", sent: message, want: message + envelope(2,
			`{"error":{"code":"unauthenticated","message":"unauthenticated"},"metadata":{"x-principal-reason":["time"]}}`)},
		{name: "connect, its own end", contentType: "application/connect+proto", sent: message + envelope(2, "{}"), want: message + envelope(2, "{}")},
		{name: "connect, half a message", contentType: "application/connect+proto", sent: message[:3], aborted: true},
		{name: "grpc, nothing sent", contentType: "application/grpc", trailer: "16"},
		{name: "grpc, a message", contentType: "application/grpc+proto", sent: message, want: message, trailer: "16"},
		{name: "grpc, half a message", contentType: "application/grpc", sent: message[:5], aborted: true},
		{name: "grpc-web, a message", contentType: "application/grpc-web+proto", sent: message, want: message + envelope(0x80,
			"grpc-status: 16\r\ngrpc-message: unauthenticated\r\nx-principal-reason: time\r\n")},
		{name: "grpc-web, its own trailers", contentType: "application/grpc-web", sent: envelope(0x80, ""), want: envelope(0x80, "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				w, aborted := run(t, c.contentType, func(w http.ResponseWriter, r *http.Request) {
					if c.sent != "" {
						w.Header().Set("Trailer", "Grpc-Status")
						_, _ = io.WriteString(w, c.sent)
					}
					<-r.Context().Done()
					w.Header().Set("Grpc-Status", "0")
					w.Header().Set(http.TrailerPrefix+"Grpc-Message", "of the handler")
				})
				if age := time.Since(start); age != 330*time.Second {
					t.Errorf("it ended after %v", age)
				}
				if aborted != c.aborted {
					t.Errorf("aborted: %v", aborted)
				}
				if aborted {
					return
				}
				if got := w.Body.String(); got != c.want {
					t.Errorf("body %q, want %q", got, c.want)
				}
				response := w.Result()
				if got := response.Trailer.Values("Grpc-Status"); c.trailer != "" && !slices.Equal(got, []string{c.trailer}) {
					t.Errorf("grpc-status %q in %v, want %q", got, response.Trailer, c.trailer)
				}
			})
		})
	}
}

// run calls a handler through the middleware, as a human does.
func run(t *testing.T, contentType string, handler http.HandlerFunc) (w *httptest.ResponseRecorder, aborted bool) {
	t.Helper()
	iss := principaltest.NewIssuer(t)
	guard := iss.Guard("orders", (&principal.Rules{}).WithMethod("/a.B/C", principal.AllowAnonymous()))
	w = httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/a.B/C", nil)
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("X-Principal-Bin", principal.EncodeHeader(iss.Header("orders", principaltest.Human())))
	defer func() {
		err, _ := recover().(error)
		aborted = errors.Is(err, http.ErrAbortHandler)
	}()
	connectv1.NewMiddleware(guard).Wrap(handler).ServeHTTP(w, r)
	return w, false
}

// A unary call of Connect may take longer than its principal lives: it was
// allowed when it began, and answers once.
func TestUnaryCallGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, aborted := run(t, "application/proto", func(w http.ResponseWriter, r *http.Request) {
			<-time.After(time.Hour)
			if r.Context().Err() == nil {
				_, _ = io.WriteString(w, "late")
			}
		})
		if aborted || w.Body.String() != "late" {
			t.Errorf("aborted %v, %q", aborted, w.Body)
		}
	})
}

func TestAbort(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
	}{
		{"asked for", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{"after half an answer", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic("half")
		}},
	} {
		if _, aborted := run(t, "application/json", c.handler); !aborted {
			t.Errorf("%s: the answer looks complete", c.name)
		}
	}
}
