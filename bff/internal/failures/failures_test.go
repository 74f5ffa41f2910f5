package failures_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/failures"
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func newClock() *clock { return &clock{time.Unix(1_800_000_000, 0)} }

func TestCounter(t *testing.T) {
	t.Parallel()
	c := newClock()
	f := failures.NewCounter(60, c.now)
	a := netip.MustParseAddr("203.0.113.1")
	for i := range 60 {
		if f.Over(a) {
			t.Fatal("over after", i)
		}
		f.Add(a)
	}
	if !f.Over(a) {
		t.Error("not over after 60")
	}
	if f.Over(netip.MustParseAddr("203.0.113.2")) {
		t.Error("a neighbour is over")
	}
	f.Add(a) // does not make it longer
	c.at = c.at.Add(time.Second)
	if f.Over(a) {
		t.Error("over although one a second is allowed")
	}
	f.Add(a)
	if !f.Over(a) {
		t.Error("two in a second")
	}
	c.at = c.at.Add(-time.Hour)
	if !f.Over(a) {
		t.Error("not over as the clock was set back")
	}
}

// Whoever has a network of IPv6 cannot choose an address per attempt.
func TestNetwork(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"203.0.113.1": "203.0.113.1/32", "2001:db8:0:1:ffff::9": "2001:db8:0:1::/64", "2001:db8:0:1::": "2001:db8:0:1::/64",
		"2001:db8:0:2::": "2001:db8:0:2::/64",
	} {
		if got := failures.Network(netip.MustParseAddr(addr)).String(); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// Who fails without pause is remembered, however many others do.
func TestFlood(t *testing.T) {
	t.Parallel()
	f := failures.NewCounter(2, newClock().now)
	a := netip.MustParseAddr("203.0.113.1")
	f.Add(a)
	f.Add(a)
	var other [4]byte
	for i := range uint32(200_000) {
		binary.BigEndian.PutUint32(other[:], 0x0a000000+i)
		f.Add(netip.AddrFrom4(other))
		if i%10_000 == 0 && !f.Over(a) {
			t.Fatal("forgotten after", i)
		}
	}
	for range uint32(40_000) { // it stops
		binary.BigEndian.PutUint32(other[:], binary.BigEndian.Uint32(other[:])+1)
		f.Add(netip.AddrFrom4(other))
	}
	if f.Over(a) {
		t.Error("remembered for ever")
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	f := failures.NewCounter(1, newClock().now)
	var unknown netip.Addr
	f.Add(unknown)
	f.Add(unknown)
	if f.Over(unknown) {
		t.Error("over")
	}
}

func BenchmarkOver(b *testing.B) {
	f := failures.NewCounter(60, time.Now)
	f.Add(netip.MustParseAddr("203.0.113.2"))
	a := netip.MustParseAddr("203.0.113.1")
	b.ReportAllocs()
	for b.Loop() {
		f.Over(a)
	}
}
