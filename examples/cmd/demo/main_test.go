package main

import (
	"bytes"
	"strings"
	"testing"
)

// The demo is the end-to-end test: a real provider, the edge and four services,
// over HTTP.
func TestDemo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := run(t.Context(), &screen{out: &out}, false); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "Every call ended as expected.") {
		t.Error(out.String())
	}
	for i, token := range strings.Fields(out.String()) {
		if strings.HasPrefix(token, "eyJ") {
			t.Errorf("word %d is a token", i)
		}
	}
}
