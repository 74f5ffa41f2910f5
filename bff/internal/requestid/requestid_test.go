package requestid_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/onbehalf-dev/onbehalf/bff/internal/requestid"
)

func TestFor(t *testing.T) {
	t.Parallel()
	source := requestid.NewSource([]netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"),
	}, nil)
	const good = "edge-1_a.b"
	cases := []struct {
		name, remote string
		values       []string
		kept         bool
	}{
		{"trusted", "10.1.2.3:4", []string{good}, true},
		{"trusted, mapped", "[::ffff:10.1.2.3]:4", []string{good}, true},
		{"trusted, IPv6", "[fd00::1]:4", []string{good}, true},
		{"trusted, zone", "[fd00::1%eth0]:4", []string{good}, true},
		{"trusted, longest", "10.1.2.3:4", []string{strings.Repeat("a", 64)}, true},
		{"untrusted", "11.1.2.3:4", []string{good}, false},
		{"untrusted, IPv6", "[fe80::1]:4", []string{good}, false},
		{"no address", "@", []string{good}, false},
		{"no header", "10.1.2.3:4", nil, false},
		{"empty", "10.1.2.3:4", []string{""}, false},
		{"two", "10.1.2.3:4", []string{good, good}, false},
		{"joined", "10.1.2.3:4", []string{good + "," + good}, false},
		{"too long", "10.1.2.3:4", []string{strings.Repeat("a", 65)}, false},
		{"space", "10.1.2.3:4", []string{"a b"}, false},
		{"line end", "10.1.2.3:4", []string{"a\n"}, false},
		{"escape sequence", "10.1.2.3:4", []string{"a\x1b[31m"}, false},
		{"not ASCII", "10.1.2.3:4", []string{"ä"}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Request-Id": c.values, "X_request_id": {"other"}}}
			got := source.For(r)
			switch {
			case c.kept && got != c.values[0]:
				t.Errorf("got %q, want the client's", got)
			case !c.kept && !isNew(got):
				t.Errorf("got %q, want a new one", got)
			}
		})
	}
}

func TestNobodyIsTrustedByDefault(t *testing.T) {
	t.Parallel()
	r := &http.Request{RemoteAddr: "127.0.0.1:1", Header: http.Header{"X-Request-Id": {"mine"}}}
	if got := requestid.NewSource(nil, nil).For(r); !isNew(got) {
		t.Errorf("got %q", got)
	}
}

func TestNextAscendsWhenTheClockGoesBack(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	source := requestid.NewSource(nil, func() time.Time { return now })
	last := source.Next()
	for i := range 1000 {
		if i == 500 {
			now = now.Add(-time.Hour)
		}
		next := source.Next()
		if next <= last {
			t.Fatalf("%s after %s", next, last)
		}
		last = next
	}
}

func TestNextIsUniqueAcrossGoroutines(t *testing.T) {
	t.Parallel()
	source := requestid.NewSource(nil, nil)
	var (
		wg   sync.WaitGroup
		seen sync.Map
	)
	for range 8 {
		wg.Go(func() {
			for range 500 {
				id := source.Next()
				if _, twice := seen.LoadOrStore(id, true); twice || !isNew(id) {
					t.Errorf("id %q", id)
				}
			}
		})
	}
	wg.Wait()
}

func isNew(id string) bool {
	text, ok := strings.CutPrefix(id, "req_")
	_, err := ulid.ParseStrict(text)
	return ok && err == nil
}

func ExampleSource_Next() {
	source := requestid.NewSource(nil, func() time.Time { return time.Unix(1_800_000_000, 0) })
	id := source.Next()
	fmt.Println(id[:len("req_01KDZBG8")], len(id)) // the time comes first
	// Output: req_01MCC5RM 30
}
