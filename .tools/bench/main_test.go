package main

import (
	"io"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/tools/bench/measure"
)

// once is enough to see whether everything still works, and says nothing of
// speed. The pool is larger than what is verified, so that all of it is new.
var once = setting{principals: measure.Plan{Rounds: 1}, calls: measure.Plan{Rounds: 1}, pool: 256}

func TestEveryFigureOnce(t *testing.T) { //nolint:paralleltest // allocations are counted for the whole process
	var out strings.Builder
	if err := run(once, ".", &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"standard principal, relay", "standard principal, linked", "a link",
		"cached verify, relay", "cached verify, relay, allocations", "cached verify, linked", "cached verify, linked, allocations",
		"cold verify, relay", "cold verify, linked",
		"new last link on a known prefix, 1 in all", "new last link on a known prefix, 3 in all",
		"issue, relay", "issue, linked",
		"golang-jwt ES256, token", "golang-jwt ES256, verify", "golang-jwt EdDSA, token", "golang-jwt EdDSA, verify",
		"grpc-go call, relay, cached", "grpc-go call, linked, cached", "grpc-go call, otelgrpc, no-op", "grpc-go call, golang-jwt ES256",
		"connect v2 call, relay, cached", "connect v2 call, linked, cached", "connect v2 call, otelconnect, no-op", "connect v2 call, golang-jwt ES256",
	} {
		if !strings.Contains(out.String(), "\n"+name+"  ") {
			t.Errorf("no row %q in\n%s", name, &out)
		}
	}
}

// What does not depend on the machine may not miss its bound.
func TestCountedFiguresHold(t *testing.T) { //nolint:paralleltest // as above
	var out strings.Builder
	if err := run(once, "^standard|^a link|allocations", &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "missed") || strings.Count(out.String(), "held") != 5 {
		t.Error(out.String())
	}
}

func TestOnly(t *testing.T) {
	t.Parallel()
	for only, want := range map[string]string{
		"no such figure": "no figure has a name that matches",
		"(":              "missing closing )",
	} {
		if err := run(once, only, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("-only %q: %v", only, err)
		}
	}
}
