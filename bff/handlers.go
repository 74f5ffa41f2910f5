package bff

import (
	"io"
	"net/http"

	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1/trustv1connect"

	"github.com/onbehalf-dev/onbehalf/bff/internal/admin"
	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
)

// meshHandler serves services.
func (s *Server) meshHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+keys.Path, keys.Handler(s.state.Keys, s.log))
	mux.Handle("/"+trustv1connect.TrustFeedServiceName+"/", s.feed.Handler())
	return mux
}

// adminHandler serves whoever runs the edge.
func (s *Server) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/"+bffv1connect.AdminServiceName+"/", admin.New(admin.Options{
		Token: s.token, Trust: operator{s.trust}, Store: operator{s.trust}, Audit: s.audit, Now: s.now,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case !s.ready.Load():
			answer(w, http.StatusServiceUnavailable, "not ready\n")
		case s.state.Age(s.now()) > s.outage:
			answer(w, http.StatusServiceUnavailable, "the store is out of reach\n")
		case s.superseded.Load():
			answer(w, http.StatusServiceUnavailable, "another process has changed the signing keys of this replica\n")
		case s.refuseUnlogged && s.audit.Failing():
			answer(w, http.StatusServiceUnavailable, "audit records cannot be written\n")
		default:
			answer(w, http.StatusOK, "ready\n")
		}
	})
	return mux
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // the client may have gone
}
