package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const gatewayConfig = `version: 1
issuer: ` + issuer + `
trust_domain: ` + trustDomain + `
data_dir: data
audit: {file: audit.jsonl}
limits: {streams: 1000}
issuers:
%[1]s
routes:
  - {path_prefix: /api, upstream: "%[2]s", mode: relay}
  - {service: grpc.health.v1.Health, upstream: "%[3]s", mode: relay}
%[4]s`

// gatewayMain is an edge in front of two upstreams, one for HTTP/1.1 and one for
// gRPC. Issuers and routes are as many as are asked for.
func gatewayMain(dir, plain, grpc, provider string, issuers, routes int) error {
	var tokens, more strings.Builder
	for i := range issuers {
		fmt.Fprintf(&tokens, "  - {issuer: %s/%d, audience: [shop], kinds: [{kind: human, when: {claim: sub, present: true}}]}\n", provider, i)
	}
	for i := range routes - 2 {
		fmt.Fprintf(&more, "  - {path_prefix: /other/%d/things, upstream: \"%s\", mode: relay}\n", i, plain)
	}
	_, listeners, err := runEdge(dir, fmt.Sprintf(gatewayConfig, tokens.String(), plain, grpc, more.String()))
	if err != nil {
		return err
	}
	return usage().serve(listeners.Public.Addr().String())
}

// reverseMain is what the standard library has for the same.
func reverseMain(plain, grpc string) error {
	proxy := func(to string) (*httputil.ReverseProxy, error) {
		u, err := url.Parse(to)
		if err != nil {
			return nil, err
		}
		t := &http.Transport{MaxIdleConnsPerHost: 256, Protocols: new(http.Protocols), DisableCompression: true}
		t.Protocols.SetHTTP1(u.Scheme == "http")
		t.Protocols.SetUnencryptedHTTP2(u.Scheme == "h2c")
		u.Scheme = "http"
		return &httputil.ReverseProxy{Transport: t, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}, nil
	}
	one, err := proxy(plain)
	if err != nil {
		return err
	}
	two, err := proxy(grpc)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", one)
	mux.Handle("/grpc.health.v1.Health/", two)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux, Protocols: both(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }()
	return usage().serve(l.Addr().String())
}

func both() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// usage serves how much of a CPU the process has had.
func usage() *control {
	c := newControl()
	c.on("cpu", func(*http.Request) (any, error) {
		var u syscall.Rusage
		err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return map[string]int64{"Nanos": u.Utime.Nano() + u.Stime.Nano()}, err
	})
	c.on("collect", func(*http.Request) (any, error) { return struct{}{}, nil }) // as it is
	return c
}
