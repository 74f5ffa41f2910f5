package observed_test

import (
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/observed"
)

func BenchmarkReport(b *testing.B) {
	const line = `{"time":"2026-11-20T10:00:00Z","level":"WARN","msg":"principal","service":"orders","method":"/shop.orders.v1.OrderService/M","decision":"would_refuse",` +
		`"principal":{"id":"8f14e45f","kind":"human","actor":"hm-ann","subject":"hm-ann","issuer":"https://edge.example","path":["bff","orders"],"scopes":["orders:read"]},` +
		`"reason":"scope","rule":"{all_scopes:\"orders:write\"}","request_id":"req_1"}` + "\n"
	log := strings.Repeat(line, 1000)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		if err := observed.New(time.Time{}).Add(observed.Input{Name: "log", Reader: strings.NewReader(log)}); err != nil {
			b.Fatal(err)
		}
	}
}
