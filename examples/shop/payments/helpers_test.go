package payments_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/onbehalf-dev/onbehalf/principal"
)

func principalOf(ctx context.Context, t *testing.T) *principal.Principal {
	t.Helper()
	p, ok := principal.FromContext(ctx)
	if !ok {
		t.Fatal("no principal")
	}
	return p
}

// checkCode also checks that the message, which goes to the caller, does not
// repeat the ledger's.
func checkCode(t *testing.T, err error, want connect.Code) {
	t.Helper()
	var e *connect.Error
	if !errors.As(err, &e) || e.Code() != want || strings.Contains(e.Message(), "secret") {
		t.Errorf("%v, want %v", err, want)
	}
}
