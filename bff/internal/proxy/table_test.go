package proxy_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

func TestTable(t *testing.T) {
	t.Parallel()
	routes := []proxy.Route{
		0: {PathPrefix: "/"},
		1: {PathPrefix: "/api"},
		2: {PathPrefix: "/api/v2/"},
		3: {Service: "orders.v1.Orders"},
		4: {PathPrefix: "/orders.v1.Orders/Export"},
		5: {Host: "shop.example", PathPrefix: "/api"},
		6: {Host: "Grpc.example", Service: "orders.v1.Orders"},
		7: {Host: "::1", PathPrefix: "/"},
	}
	table, err := proxy.NewTable(routes)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, path string
		want       proxy.Target
	}{
		{"any", "/", proxy.Target{Route: 0, Path: "/"}},
		{"any", "/apis", proxy.Target{Route: 0, Path: "/apis"}},
		{"any", "/api", proxy.Target{Route: 1, Path: "/api"}},
		{"any", "/api/", proxy.Target{Route: 1, Path: "/api/"}},
		{"any", "/api/v20", proxy.Target{Route: 1, Path: "/api/v20"}},
		{"any", "/api/v2", proxy.Target{Route: 2, Path: "/api/v2"}},
		{"any", "/api/v2/x/y/z", proxy.Target{Route: 2, Path: "/api/v2/x/y/z"}},
		{"any", "/orders.v1.Orders/Get", proxy.Target{Route: 3, Path: "/orders.v1.Orders/Get", Service: "orders.v1.Orders", Method: "Get"}},
		{"any", "/orders.v1.OrdersX/Get", proxy.Target{Route: 0, Path: "/orders.v1.OrdersX/Get"}},
		{"any", "/orders.v1.Orders/Export", proxy.Target{Route: 4, Path: "/orders.v1.Orders/Export"}},
		{"shop.example", "/api/v2", proxy.Target{Route: 5, Path: "/api/v2"}},
		{"SHOP.example.:8443", "/api", proxy.Target{Route: 5, Path: "/api"}},
		{"shop.example", "/other", proxy.Target{Route: 0, Path: "/other"}},
		{"shop.example.evil", "/api", proxy.Target{Route: 1, Path: "/api"}},
		{"grpc.example", "/orders.v1.Orders/Get", proxy.Target{Route: 6, Path: "/orders.v1.Orders/Get", Service: "orders.v1.Orders", Method: "Get"}},
		{"[::1]:80", "/api", proxy.Target{Route: 7, Path: "/api"}},
		{"[::1]", "/api", proxy.Target{Route: 7, Path: "/api"}},
		{"", "/api", proxy.Target{Route: 1, Path: "/api"}},
	} {
		t.Run(c.host+c.path, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{Method: http.MethodPost, Host: c.host, URL: &url.URL{Path: c.path}, Header: http.Header{
				"X-Original-Url": {"/api"}, "X-Forwarded-Host": {"shop.example"}, "X-Rewrite-Url": {"/api"}, // A10
			}}
			got, err := table.Match(r)
			equal(t, "target", got, c.want)
			equal(t, "error", err, nil)
		})
	}
}

func TestTableWithoutACatchAll(t *testing.T) {
	t.Parallel()
	table, err := proxy.NewTable([]proxy.Route{{PathPrefix: "/a/b"}, {Host: "h", PathPrefix: "/c"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/a", "/ab", "/c", "/A/b"} {
		_, err := table.Match(&http.Request{URL: &url.URL{Path: path}})
		equal(t, path, err, proxy.ErrNoRoute)
	}
}

func TestNewTableRefuses(t *testing.T) {
	t.Parallel()
	for name, routes := range map[string][]proxy.Route{
		"the same prefix":              {{PathPrefix: "/a"}, {PathPrefix: "/a"}},
		"the same prefix, slash":       {{PathPrefix: "/a"}, {PathPrefix: "/a/"}},
		"the same service":             {{Service: "a.B"}, {Service: "a.B"}},
		"a service as a prefix":        {{Service: "a.B"}, {PathPrefix: "/a.B"}},
		"the same host, other case":    {{Host: "a", PathPrefix: "/"}, {Host: "A", PathPrefix: "/"}},
		"nothing to match":             {{Host: "a"}},
		"prefix and service":           {{PathPrefix: "/a", Service: "a.B"}},
		"a relative prefix":            {{PathPrefix: "a"}},
		"a prefix with dots":           {{PathPrefix: "/a/../b"}},
		"a prefix with two slashes":    {{PathPrefix: "/a//"}},
		"a prefix that is encoded":     {{PathPrefix: "/a%2fb"}},
		"a service with a slash":       {{Service: "/a.B"}},
		"a service with a method":      {{Service: "a.B/Get"}},
		"a service with an empty part": {{Service: "a..B"}},
		"a host with a port":           {{Host: "a:1", PathPrefix: "/"}},
		"a host with a wildcard":       {{Host: "*.a", PathPrefix: "/"}},
		"a URL as host":                {{Host: "https://a", PathPrefix: "/"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := proxy.NewTable(routes); err == nil {
				t.Error("no error")
			}
		})
	}
}

// The order of the routes has no meaning.
func TestTableOrder(t *testing.T) {
	t.Parallel()
	routes := []proxy.Route{{PathPrefix: "/"}, {PathPrefix: "/a"}, {PathPrefix: "/a/b"}, {Service: "a.B"}}
	want := routes[2]
	for i := range routes {
		rotated := append(append([]proxy.Route{}, routes[i:]...), routes[:i]...)
		table, err := proxy.NewTable(rotated)
		if err != nil {
			t.Fatal(err)
		}
		got, err := table.Match(&http.Request{URL: &url.URL{Path: "/a/b/c"}})
		equal(t, "route", rotated[got.Route], want)
		equal(t, "error", err, nil)
	}
}

// A path of thousands of segments must not cost thousands of look-ups.
func BenchmarkMatchLongPath(b *testing.B) {
	table, err := proxy.NewTable([]proxy.Route{{PathPrefix: "/"}, {PathPrefix: "/a/b"}})
	if err != nil {
		b.Fatal(err)
	}
	r := &http.Request{URL: &url.URL{Path: strings.Repeat("/x", 8000)}}
	for b.Loop() {
		_, _ = table.Match(r)
	}
}

func ExampleNewTable() {
	table, err := proxy.NewTable([]proxy.Route{
		{PathPrefix: "/public"},
		{Host: "api.example", Service: "orders.v1.Orders"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, _ := http.NewRequest(http.MethodPost, "https://api.example/orders.v1.Orders/Get", nil)
	target, err := table.Match(r)
	fmt.Println(target.Route, target.Service, target.Method, err)

	r.URL.Path = "/public/../orders.v1.Orders/Get"
	_, err = table.Match(r)
	fmt.Println(err)
	// Output:
	// 1 orders.v1.Orders Get <nil>
	// proxy: ambiguous request target
}
