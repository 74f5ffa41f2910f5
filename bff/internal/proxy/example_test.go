package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

func ExampleNew() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "principal %q, credential %q", r.Header.Get("X-Principal-Bin"), r.Header.Get("Authorization"))
	}))
	defer service.Close()
	upstream, _ := url.Parse(service.URL)

	table, err := proxy.NewTable([]proxy.Route{{PathPrefix: "/orders"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler, err := proxy.New(proxy.Upstream{URL: upstream}, proxy.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	edge := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := table.Match(r); err != nil {
			proxy.WriteError(w, r, proxy.NotFound)
			return
		}
		var out proxy.Outcome
		handler.Forward(w, r, proxy.Call{Principal: "bWludGVk"}, &out)
		fmt.Println("smuggled:", out.Smuggled)
	})

	r := httptest.NewRequest(http.MethodGet, "/orders/1", nil)
	r.Header.Set("Authorization", "Bearer secret")
	r.Header.Set("X_Principal_Bin", "forged")
	w := httptest.NewRecorder()
	edge.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output:
	// smuggled: 1
	// principal "bWludGVk", credential ""
}
