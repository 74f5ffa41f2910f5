package main

import (
	"testing"

	loansv1 "example.com/loans/gen/loans/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// TestRules is who may call what, decided as the service decides it.
func TestRules(t *testing.T) {
	t.Parallel()
	rules, err := principal.RulesFromProto(loansv1.File_loans_v1_loans_proto)
	if err != nil {
		t.Fatal(err)
	}
	iss := principaltest.NewIssuer(t)
	guard := iss.Guard("loans", rules)
	human := principaltest.Human("loans:read", "loans:write")
	agent := principaltest.Delegate(human, "assistant")

	for name, test := range map[string]struct {
		method, header string
		want           principal.Reason
	}{
		"a human repays":       {loansv1.LoanService_Repay_FullMethodName, iss.Header("loans", human), 0},
		"an agent looks":       {loansv1.LoanService_GetLoan_FullMethodName, iss.Header("loans", agent), 0},
		"an agent repays":      {loansv1.LoanService_Repay_FullMethodName, iss.Header("loans", agent), principal.ReasonKind},
		"a human may not look": {loansv1.LoanService_GetLoan_FullMethodName, iss.Header("loans", principaltest.Human()), principal.ReasonScope},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := guard.Admit(t.Context(), principal.Call{Procedure: test.method, Values: []string{test.header}})
			if got := principal.ReasonOf(err); got != test.want {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}
