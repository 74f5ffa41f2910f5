package principal_test

import (
	"crypto/elliptic"
	"errors"
	"math/big"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/internal/forge"
)

// longest returns a chain of six links, for the service payments, of which each
// block but the last one passes through change.
func longest(change func(*principalv1.Block)) forge.Chain {
	chain := forge.Chain{}.Append(i2, authorityPayload(func(p *principalv1.Principal) { p.Audience = "payments" }))
	for n := 1; n <= 6; n++ {
		change(chain[n-1])
		chain = chain.Append(payments, linkPayload(n, "payments"))
	}
	return chain
}

// respell gives a signature its other spelling, which whoever verifies it refuses
// as malformed.
func respell(b *principalv1.Block) {
	s := new(big.Int).SetBytes(b.GetSignature()[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(b.GetSignature()[32:])
}

// spoil makes the n-th copy of a block whose signature is wrong, in a way of its
// own.
func spoil(b *principalv1.Block, n int) *principalv1.Block {
	b = proto.CloneOf(b)
	for i := range 3 {
		b.Signature[i] ^= byte(n>>(8*i)) + 1
	}
	return b
}

func reasonOf(t *testing.T, v *principal.Verifier, header string) principal.Reason {
	t.Helper()
	_, err := v.Verify(t.Context(), header)
	if err == nil {
		return 0
	}
	denial, ok := errors.AsType[*principal.Denial](err)
	if !ok {
		t.Fatal(err)
	}
	return denial.Reason()
}

// Z06: whoever verified one more signature than that of the tail would find it
// malformed; whoever verified any before the rest would find it wrong.
func TestZ06OneSignatureForARefusal(t *testing.T) {
	t.Parallel()
	v := vectorVerifier(t, "payments")
	if r := reasonOf(t, v, opened(longest(func(*principalv1.Block) {}))); r != 0 {
		t.Fatal(r)
	}
	chain := longest(respell)
	if r := reasonOf(t, v, opened(chain)); r != principal.ReasonMalformed {
		t.Errorf("a good tail behind malformed signatures: %v", r)
	}
	bad := slices.Clone(chain)
	bad[6] = spoil(bad[6], 0)
	if r := reasonOf(t, v, opened(bad)); r != principal.ReasonSignature {
		t.Errorf("a bad tail behind malformed signatures: %v", r)
	}
	respell(bad[6]) // no signature is verified for any of these
	for name, test := range map[string]struct {
		verifier *principal.Verifier
		header   string
		want     principal.Reason
	}{
		"audience": {vectorVerifier(t, "orders"), opened(bad), principal.ReasonAudience},
		"time":     {vectorVerifier(t, "payments", principal.WithClock(func() time.Time { return time.Unix(vNow+4000, 0) })), opened(bad), principal.ReasonTime},
		"opening":  {v, bad.Header(forge.Opening("5")), principal.ReasonOpening},
		"key":      {v, opened(append(slices.Clone(bad[:6]), &principalv1.Block{Payload: bad[6].GetPayload(), KeyId: "none", Signature: bad[6].GetSignature()})), principal.ReasonUnknownKey},
	} {
		if r := reasonOf(t, test.verifier, test.header); r != test.want {
			t.Errorf("%s: %v", name, r)
		}
	}
}

// Z06: while one core is kept busy with headers that are refused, each another
// one, good ones are verified, also those that were not seen before.
func TestZ06GoodCallsDuringAFlood(t *testing.T) {
	t.Parallel()
	v := vectorVerifier(t, "payments")
	chain := longest(func(*principalv1.Block) {})
	var over atomic.Bool
	refused := make(chan int)
	go func() {
		n := 0
		for ; !over.Load() || n == 0; n++ {
			bad := append(slices.Clone(chain[:6]), spoil(chain[6], n))
			if _, err := v.Verify(t.Context(), opened(bad)); err == nil {
				t.Error("a bad signature is taken")
			}
		}
		refused <- n
	}()
	took := make([]time.Duration, 200)
	for i := range took {
		payload := authorityPayload(func(p *principalv1.Principal) { p.Audience, p.ClientId = "payments", strconv.Itoa(i) })
		header := opened(forge.Chain{}.Append(i1, payload))
		began := time.Now()
		if _, err := v.Verify(t.Context(), header); err != nil {
			t.Error(err)
		}
		took[i] = time.Since(began)
	}
	over.Store(true)
	n := <-refused
	slices.Sort(took)
	t.Logf("Z06: %d good headers during a flood of %d bad ones: p50 %v, p99 %v", len(took), n, took[len(took)/2], took[len(took)*99/100])
}
