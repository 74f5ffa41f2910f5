package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalhttp"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

// guarded is the service with Onbehalf.
type guarded struct {
	name   string
	next   next
	client *http.Client
}

func newGuarded(ctx context.Context, name string, next next, m *mesh) (http.Handler, error) {
	options := []trust.Option{trust.WithEnrollmentToken(os.Getenv("ENROLLMENT_TOKEN"))}
	if m != nil {
		options = []trust.Option{
			trust.WithTLSConfig(m.client()),                                               // who the service is
			trust.WithVerifierOptions(principal.WithMTLS(os.Getenv("TRUST_DOMAIN"), nil)), // who hands a principal over
		}
	}
	if domain := os.Getenv("RELAY"); domain != "" {
		options = append(options, trust.WithVerifierOptions(principal.AcceptRelay(domain)))
	}
	node, err := trust.Join(ctx, os.Getenv("EDGE"), name, options...)
	if err != nil {
		return nil, err
	}

	rules := (&principal.Rules{}).WithMethod("GET /"+name, &principalv1.AccessRule{
		Kinds: []principalv1.Kind{principalv1.Kind_KIND_HUMAN}, AllScopes: []string{"orders:read"},
	})
	settings := []principal.GuardOption{principal.WithObserver(principal.NewLogObserver(slog.Default()))}
	if os.Getenv("OBSERVE") != "" {
		settings = append(settings, principal.ObserveOnly("GET /"+name)) // log what would be refused, and let it in
	}
	guard, err := principal.NewGuard(node.Verifier(), rules, settings...)
	if err != nil {
		return nil, err
	}

	base := new(http.Transport)
	if m != nil {
		base.TLSClientConfig = m.client()
	}
	audiences := make(map[string]string) // who is reached at which address
	if target, err := url.Parse(next.url); err == nil && next.url != "" {
		audiences[target.Host] = next.name
	}
	service := &guarded{name, next, &http.Client{Transport: principalhttp.NewTransport(base, node.Propagator(), audiences)}}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /"+name, service.answer)
	return principalhttp.NewMiddleware(guard).Wrap(mux), nil
}

func (g *guarded) answer(w http.ResponseWriter, r *http.Request) {
	p, ok := principal.FromContext(r.Context())
	if !ok { // only while observing
		fmt.Fprintf(w, "%s: nobody, let in for now\n", g.name)
	} else {
		presenter, verified := p.Presenter()
		fmt.Fprintf(w, "%s: %s through %s, handed over by %s (mTLS %v)%s\n", g.name, p.Subject(), p.Path(), cmp.Or(presenter, "?"), verified, facts(p))
	}
	if g.next.url == "" {
		return
	}
	onward, err := http.NewRequestWithContext(r.Context(), http.MethodGet, g.next.url, http.NoBody)
	if err != nil {
		fmt.Fprintln(w, err)
		return
	}
	relate(w, g.client, onward)
}

// facts are what the edge knows beyond the credential.
func facts(p *principal.Principal) string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.Attributes())) {
		value, _ := p.Attribute(name)
		fmt.Fprintf(&text, " %s=%s", name, value)
	}
	if len(p.Roles()) > 0 {
		fmt.Fprintf(&text, " roles=%s", p.Roles())
	}
	return text.String()
}
