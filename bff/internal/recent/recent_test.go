package recent_test

import (
	"testing"

	"github.com/onbehalf-dev/onbehalf/bff/internal/recent"
)

func TestBounded(t *testing.T) {
	t.Parallel()
	m := recent.New[[2]byte, int](4)
	m.Put([2]byte{0}, 7)
	for i := range 20 {
		m.Put([2]byte{1, byte(i)}, i)
		if v, ok := m.Get([2]byte{0}); !ok || v != 7 { // what is in use stays
			t.Fatal(i, v, ok)
		}
	}
	found := 0
	for i := range 20 {
		if _, ok := m.Get([2]byte{1, byte(i)}); ok {
			found++
		}
	}
	if found == 0 || found > 3 {
		t.Errorf("%d of 20 are remembered", found)
	}
}
