package principal_test

import (
	"context"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

type origin struct {
	address string
	agents  []string
}

func (o origin) Origin(context.Context) (address string, userAgent []string) {
	return o.address, o.agents
}

type brokenOrigin struct{}

func (brokenOrigin) Origin(context.Context) (string, []string) { panic("secret") }

// Z01: of where a call came from, nothing is told that could be a secret.
func TestOriginIsBounded(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	var seen recorder
	g := iss.Guard("orders", ruleOf(principal.AllowAnonymous()), principal.WithObserver(&seen))
	for _, tt := range []struct {
		origin         principal.Origin
		address, agent string
	}{
		{nil, "", ""},
		{brokenOrigin{}, "", ""},
		{origin{"10.0.0.7:443", []string{"grpc-go/1.82.1"}}, "10.0.0.7", "grpc-go/1.82.1"},
		{origin{"[fe80::1%eth0]:443", []string{"Mozilla/5.0 (X11; token=CANARY)"}}, "fe80::1%eth0", "Mozilla/5.0"},
		{origin{"10.0.0.7", []string{"grpc-java-netty/v1.68"}}, "10.0.0.7", "grpc-java-netty/v1.68"},
		{origin{"bufconn", []string{"CANARY"}}, "", ""},
		{origin{"@", []string{"Bearer CANARY"}}, "", ""},
		{origin{"CANARY:1", []string{"CANARY/CANARY"}}, "", ""},
		{origin{"", []string{"a/1\x1b[2J"}}, "", ""},
		{origin{"", []string{"eyJhbGciOiJFZERTQSJ9/0." + strings.Repeat("x", 40)}}, "", ""},
		{origin{"", []string{"grpc-go/1", "grpc-go/1"}}, "", ""},
		{origin{"", []string{"/1", "a/"}}, "", ""},
	} {
		for _, values := range [][]string{nil, {"not a header"}} {
			_, err := g.Admit(t.Context(), principal.Call{Procedure: "/other/X", Values: values, Origin: tt.origin})
			if e := seen.last(t); err == nil || e.Address != tt.address || e.UserAgent != tt.agent || e.Decision != principal.Refused {
				t.Errorf("%+v: %q %q", tt.origin, e.Address, e.UserAgent)
			}
		}
		if _, err := g.Admit(t.Context(), principal.Call{Procedure: method, Origin: tt.origin}); err != nil {
			t.Error(err)
		}
		if e := seen.last(t); e.Address+e.UserAgent != "" {
			t.Errorf("told of a call that is allowed: %+v", e)
		}
	}
}
