package guard_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

func TestTextCall(t *testing.T) {
	t.Parallel()
	header := http.Header{}
	header.Add("x-principal-bin", "a")
	header.Add("X-PRINCIPAL-BIN", "b")
	header.Set("x_principal_bin", "c")
	header.Set("x-request-id", "req_1")
	header.Set("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	want := principal.Call{
		Procedure: "/a.B/C", Values: []string{"a", "b"}, Text: true,
		RequestID: "req_1", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
	}
	if diff := cmp.Diff(want, guard.TextCall("/a.B/C", header)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	header.Add("x-request-id", "req_2")
	if got := guard.TextCall("/a.B/C", header).RequestID; got != "" {
		t.Errorf("of two request ids %q was taken", got)
	}
}

func TestStrip(t *testing.T) {
	t.Parallel()
	header := map[string][]string{
		"X-Principal-Bin": nil, "x_principal_bin": nil, "x.principal": nil, "Trailer-X-Principal-Reason": nil,
		"X-REQUEST-ID": nil, "Accept": nil,
	}
	if !guard.Strip(header, false) || len(header) != 2 {
		t.Errorf("left: %v", header)
	}
	if !guard.Strip(header, true) || len(header) != 1 {
		t.Errorf("left: %v", header)
	}
	if guard.Strip(header, true) {
		t.Error("nothing was there to strip")
	}
}

func TestReason(t *testing.T) {
	t.Parallel()
	if got := guard.Reason(errors.New("something else")); got != principal.ReasonInternal {
		t.Error(got)
	}
}

func TestSendError(t *testing.T) {
	t.Parallel()
	err := error(guard.NewSendError(fmt.Errorf("wrapped: %w", principal.ErrNoPrincipal)))
	e, ok := errors.AsType[*guard.SendError](err)
	if !ok || e.Code() != principal.CodeFailedPrecondition || !errors.Is(err, principal.ErrNoPrincipal) {
		t.Errorf("%v", err)
	}
}

func TestNeed(t *testing.T) {
	t.Parallel()
	for name, need := range map[string]func(){
		"guard":      func() { guard.Need(nil) },
		"propagator": func() { guard.NeedPropagator(nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a nil %s was taken", name)
				}
			}()
			need()
		}()
	}
}
