package principalhttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalhttp"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

func Example() {
	iss := principaltest.NewIssuer(&testing.T{}) // in a test: its t

	// The service payments. The rule's key is the pattern.
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", func(w http.ResponseWriter, r *http.Request) {
		p, _ := principal.FromContext(r.Context())
		fmt.Fprintf(w, "charged for %s by %s", p.Actor(), p.Path())
	})
	rules := (&principal.Rules{}).WithMethod("POST /charges", &principalv1.AccessRule{
		Kinds: []principalv1.Kind{principalv1.Kind_KIND_AGENT}, AllScopes: []string{"payments:write"},
	})
	payments := httptest.NewServer(principalhttp.NewMiddleware(iss.Guard("payments", rules)).Wrap(mux))
	defer payments.Close()

	// The service orders, in whose handler ctx comes from.
	client := &http.Client{Transport: principalhttp.NewTransport(http.DefaultTransport, iss.Propagator("orders"),
		map[string]string{payments.Listener.Addr().String(): "payments"})}
	call := func(ctx context.Context) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, payments.URL+"/charges", nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		response, err := client.Do(request)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		fmt.Printf("%d %s\n", response.StatusCode, text)
	}
	call(iss.Context("orders", principaltest.Agent("shopper", "payments:write")))
	call(iss.Context("orders", principaltest.Human("payments:write")))

	// Output:
	// 200 charged for am-shopper by [bff orders]
	// 403 permission denied
}
