package peers_test

import (
	"net/http"
	"strings"
	"testing"
)

// P02: targets that one program reads as below /public, which is for everybody,
// and another one as /orders, which is not.
var ambiguous = []string{
	"/public/../orders/x", "/public/%2e%2e/orders/x", "/public/.%2E/orders/x", "/public/..;/orders/x", "/public/..%3b/orders/x",
	"/public/%252e%252e/orders/x", "//orders/x", "/public//../orders/x", "///public/..//orders/x", "/./orders/x",
	"/public/..%2forders/x", "/public%2f..%2forders/x", "/public/..%5corders/x", `/public/..\orders/x`, `\orders\x`,
	"/orders%00/x", "/public/%00/../../orders/x", "/orders/x#/public", "/public/x#/../../orders/x", "/%6frders/x", "/%6f%72ders/x",
	"/public/%c0%ae%c0%ae/orders/x", "/public/%e0%80%ae./orders/x", "/public/..%c0%af/orders/x",
	"http://other.example/orders/x", "http://edge.peers/public/../orders/x", "*",
}

// P02: without a credential, nothing reaches what needs one, however the target
// is written and whatever a proxy makes of it.
func TestAmbiguousPaths(t *testing.T) {
	t.Parallel()
	eachFront(t, func(t *testing.T, program, path string) {
		e := start(t)
		fronts := e.fronts(program, path)
		for _, f := range fronts {
			if program == "nginx" && f.name == "nginx-2" {
				continue // it is for gRPC, whose answers are not HTTP's
			}
			for _, target := range ambiguous {
				a := f.send(t, request{method: http.MethodGet, path: target})
				seen := e.upstream.take()
				for _, s := range seen { // nginx may make a good path of it before it asks the edge
					if !strings.HasPrefix(s.URL.Path, "/public/") || f.name != "nginx-1-path" {
						t.Errorf("%s: %s reached the service as %s", f.name, target, s.URL.Path)
					}
				}
				if len(seen) == 0 && a.code < 400 && a.code != 0 {
					t.Errorf("%s: %s is answered %d", f.name, target, a.code)
				}
			}
		}
		for _, f := range fronts {
			if a := f.send(t, request{method: http.MethodGet, path: "/public/x"}); f.proto == 1 && !a.ok() {
				t.Errorf("%s: a good path is answered %d", f.name, a.code)
			}
		}
		refused := 0
		for _, r := range e.records() {
			if r["reason"] == "target" {
				refused++
			}
		}
		if refused < len(ambiguous) { // the proxies refuse some by themselves; if they refused all, this would test nothing
			t.Errorf("only %d targets were left for the edge to refuse", refused)
		}
	})
}

// P01: a method has one name. With a good credential, none of the others reaches
// the service.
func TestAmbiguousMethods(t *testing.T) {
	t.Parallel()
	eachFront(t, func(t *testing.T, program, path string) {
		e := start(t)
		alice := e.token("alice")
		for _, f := range e.fronts(program, path) {
			if f.proto != 2 {
				continue
			}
			for _, target := range []string{
				"peers.v1.Echo/Talk", "//peers.v1.Echo/Talk", "/peers.v1.Echo%2FTalk", "/peers.v1.Echo%2fTalk", "/peers.v1.Echo/Talk/",
				"/PEERS.v1.Echo/Talk", "/peers.v1.Echo/../Echo/Talk", "/public/../peers.v1.Echo/Talk",
				"/peers.v1.Echo/Talk;x", "/peers.v1.Echo/Talk?x=1", "/peers.v1.Echo", "*", "",
			} {
				r := f.request("", alice, false)
				r.path = target
				f.send(t, r)
				for _, seen := range e.upstream.take() {
					t.Errorf("%s: %s reached the service as %s", f.name, target, seen.URL.Path)
				}
			}
			r := f.request("", alice, false)
			if a := f.send(t, r); !a.ok() || len(e.upstream.take()) != 1 {
				t.Errorf("%s: the one name is answered %d", f.name, a.code)
			}
		}
	})
}
