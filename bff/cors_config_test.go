package bff_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff"
)

const corsFile = `version: 1
issuer: https://edge.test
issuers: [{issuer: "https://login.test", audience: [shop], kinds: [{kind: human, when: {claim: sub, present: true}}]}]
routes:
  - path_prefix: /
    upstream: http://127.0.0.1:8081
    audience: orders
    cors: `

func TestCORSKeys(t *testing.T) {
	t.Parallel()
	cfg, err := bff.LoadConfig(writeConfig(t, corsFile+"{origins: ['https://shop.example', 'http://[::1]:3000', 'https://xn--bcher-kva.example:8443'], "+
		"methods: [GET, PATCH], headers: [x-trace], expose: [Trailer-Total], credentials: true, max_age: 2h}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := &bff.CORS{
		Origins: []string{"https://shop.example", "http://[::1]:3000", "https://xn--bcher-kva.example:8443"},
		Methods: []string{"GET", "PATCH"}, Headers: []string{"x-trace"}, Expose: []string{"Trailer-Total"}, Credentials: true, MaxAge: 2 * time.Hour,
	}
	if d := cmp.Diff(want, cfg.Routes[0].CORS); d != "" {
		t.Error(d)
	}
}

func TestCORSMistakes(t *testing.T) {
	t.Parallel()
	const form = " is not an origin; write a scheme, a host and perhaps a port, in lower case, such as https://shop.example"
	for _, test := range []struct {
		cors string
		want []string // without file and line, and routes[0].cors.
	}{
		{"{}", []string{"origins: missing; name the origins of the pages, such as https://shop.example, or remove cors"}},
		{"{origins: []}", []string{"origins: missing; name the origins of the pages, such as https://shop.example, or remove cors"}},
		{"{origins: ['*']}", []string{`origins: "*" is for routes with auth: none; name each origin`}},
		{"{origins: ['*', 'https://a.example'], credentials: true}", []string{
			`origins: "*" is every origin; remove it, or the others`,
			`origins: "*" is for routes with auth: none; name each origin`,
			`credentials: must not be together with the origin "*"; remove one of them`,
		}},
		{"{origins: ['null']}", []string{`origins[0]: "null" is the origin of all pages that have none, so anybody's; name an origin`}},
		{"{origins: ['https://*.example', 'https://*']}", []string{
			`origins[0]: "https://*.example" is a pattern; name each origin`, `origins[1]: "https://*" is a pattern; name each origin`,
		}},
		{"{origins: ['https://a.example/', 'HTTPS://a.example', 'https://A.example', a.example, 'file:///x', 'https://u@a.example', 'https://a.example?x', '']}", []string{
			`origins[0]: "https://a.example/"` + form, `origins[1]: "HTTPS://a.example"` + form, `origins[2]: "https://A.example"` + form,
			`origins[3]: "a.example"` + form, `origins[4]: "file:///x"` + form, `origins[5]: "https://u@a.example"` + form,
			`origins[6]: "https://a.example?x"` + form, `origins[7]: ""` + form,
		}},
		{"{origins: ['https://a.example:443', 'http://a.example:80', 'https://a.example:', 'https://a.example.']}", []string{
			`origins[0]: "https://a.example:443" has the port that its scheme has anyway, which browsers leave out; leave it out`,
			`origins[1]: "http://a.example:80" has the port that its scheme has anyway, which browsers leave out; leave it out`,
			`origins[2]: "https://a.example:" has a port that is none; write one of 1 to 65535, or leave it and its colon out`,
			`origins[3]: "https://a.example." has a dot at the end of its host; leave it out`,
		}},
		{"{origins: ['https://a.example', 'https://a.example']}", []string{`origins[1]: "https://a.example" is there already; remove it`}},
		{"{origins: ['https://a.example'], methods: [get, OPTIONS, '*']}", []string{
			`methods[0]: "get" is unknown; take some of GET, HEAD, POST, PUT, PATCH, DELETE`,
			`methods[1]: "OPTIONS" is unknown; take some of GET, HEAD, POST, PUT, PATCH, DELETE`,
			`methods[2]: "*" is unknown; take some of GET, HEAD, POST, PUT, PATCH, DELETE`,
		}},
		{"{origins: ['https://a.example'], headers: ['*', 'a b', X-Principal-Bin], expose: [x_principal-bin]}", []string{
			`headers[0]: "*" does not cover Authorization in browsers; name each header`,
			`headers[1]: "a b" is not the name of a header; use up to 128 letters, digits and hyphens`,
			`headers[2]: "X-Principal-Bin" stays between the edge and services; remove it`,
			`expose[0]: "x_principal-bin" stays between the edge and services; remove it`,
		}},
		{"{origins: ['https://a.example'], max_age: 25h}", []string{`max_age: 25h0m0s is out of range; write 1s to 24h0m0s`}},
		{"{origins: ['https://a.example'], max_age: 1ms}", []string{`max_age: 1ms is out of range; write 1s to 24h0m0s`}},
	} {
		t.Run(test.cors, func(t *testing.T) {
			t.Parallel()
			cfg, err := bff.LoadConfig(writeConfig(t, corsFile+test.cors+"\n"))
			if err == nil {
				t.Fatal("accepted", cfg)
			}
			var got []string
			for line := range strings.SplitSeq(err.Error(), "\n") {
				_, text, _ := strings.Cut(line, ":8: routes[0].cors.")
				got = append(got, text)
			}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d, err)
			}
		})
	}
}
