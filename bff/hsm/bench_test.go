package hsm_test

import (
	"crypto"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// BenchmarkSign signs principals, one after the other and by all cores, with a
// key in the token and with one in memory.
func BenchmarkSign(b *testing.B) {
	_, inToken := create(b, newToken(b).open(b))
	for name, key := range map[string]crypto.Signer{"token": inToken, "memory": softwareKey(b)} {
		signer, err := principal.NewSigner(issuer, key, "")
		if err != nil {
			b.Fatal(err)
		}
		p := principaltest.Human("orders:read")
		p.Audience, p.Presenter, p.IssuedAt = "orders", "bff", time.Now().Unix()
		p.ExpiresAt = p.IssuedAt + 60
		one := func(b *testing.B) {
			b.Helper()
			if _, err := signer.Sign(p); err != nil {
				b.Error(err)
			}
		}
		rate := func(b *testing.B) {
			b.Helper()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "signatures/s")
		}
		b.Run(name+"/one", func(b *testing.B) {
			for b.Loop() {
				one(b)
			}
			rate(b)
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					one(b)
				}
			})
			rate(b)
		})
	}
}
