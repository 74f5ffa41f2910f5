package contract_test

import (
	"testing"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// BenchmarkHold is what a guard costs a unary call from its admission to its
// end, with a header that is in the cache: without revocations, with them, and
// where its handler waits for something.
func BenchmarkHold(b *testing.B) {
	for _, c := range []struct {
		name          string
		feed, waiting bool
	}{{"without", false, false}, {"with", true, false}, {"with and waiting", true, true}} {
		b.Run(c.name, func(b *testing.B) {
			iss := principaltest.NewIssuer(b)
			var options []principal.VerifierOption
			if c.feed {
				options = append(options, principal.WithRevocations(newFeed(b)))
			}
			options = append(options, principal.WithStaleness(1<<60))
			g := guardOf(b, iss.Verifier("s2", options...), rules(anyKind()))
			call := principal.Call{Procedure: unary.procedure(), Values: []string{iss.Header("s2", principaltest.Standard())}}
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				a, err := g.Admit(ctx, call)
				if err != nil {
					b.Fatal(err)
				}
				inner, life, reason := guard.Begin(&a, false)
				if c.waiting {
					inner.Done()
				}
				if reason != 0 || life.Close() != 0 {
					b.Fatal("it has ended")
				}
			}
		})
	}
}
