package proxy_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

func TestZZEndedBefore(t *testing.T) {
	t.Parallel()
	var reached atomic.Int64
	up := listen(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }), nil)
	e := startEdge(t, upstreamAt("http", up), proxy.Options{})
	e.call = func(_ http.ResponseWriter, r *http.Request) (*http.Request, proxy.Call) {
		ctx, cancel := context.WithCancelCause(r.Context())
		cancel(proxy.ErrEnded)
		return r.WithContext(ctx), proxy.Call{Principal: minted}
	}
	ok := 0
	client := clientFor(t, http1)
	for range 300 {
		if res := get(t, client, e, "/api"); res.StatusCode != http.StatusUnauthorized {
			ok++
		}
		<-e.outcomes
	}
	if n := reached.Load(); n > 0 || ok > 0 {
		t.Errorf("%d requests went upstream, %d were answered", n, ok)
	}
}
