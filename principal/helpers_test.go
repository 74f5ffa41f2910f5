package principal_test

import (
	"context"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// contextOf is the context of a handler that was called with header.
func contextOf(t testing.TB, v *principal.Verifier, header string) context.Context {
	t.Helper()
	a, err := anyoneGuard(t, v).Admit(t.Context(), principal.Call{Procedure: anyMethod, Values: []string{header}})
	if err != nil {
		t.Fatal(err)
	}
	return a.Context
}
