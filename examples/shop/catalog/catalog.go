// Package catalog is a plain HTTP service of the shop. It takes relayed
// principals: what it shows is not worth a link.
package catalog

import (
	"encoding/json"
	"net/http"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalhttp"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// The patterns, which are also the names by which rules find them.
const (
	listPattern = "GET /catalog"
	wishPattern = "GET /catalog/wishes"
)

// Rules says who may call what: everybody sees the catalog, humans and agents
// their wishes.
func Rules() *principal.Rules {
	return (&principal.Rules{}).
		WithMethod(listPattern, principal.AllowAnonymous()).
		WithMethod(wishPattern, &principalv1.AccessRule{
			Kinds:     []principalv1.Kind{principalv1.Kind_KIND_HUMAN, principalv1.Kind_KIND_AGENT},
			AllScopes: []string{"orders:read"},
		})
}

// NewHTTPHandler returns the service, with every pattern under its rule.
func NewHTTPHandler(guard *principal.Guard) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(listPattern, list)
	mux.HandleFunc(wishPattern, wishes)
	return principalhttp.NewMiddleware(guard).Wrap(mux)
}

func list(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"items": []string{"bicycle", "book"}})
}

// wishes answers for the subject, whoever asks on its behalf.
func wishes(w http.ResponseWriter, r *http.Request) {
	p, ok := principal.FromContext(r.Context())
	if !ok {
		http.Error(w, "no principal", http.StatusInternalServerError) // cannot be: the rule is not anonymous
		return
	}
	answer(w, map[string]any{"of": p.Subject().String(), "asked_by": p.Actor().String(), "items": []string{"bicycle"}})
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no answer
}
