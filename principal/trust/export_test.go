package trust

import (
	"context"
	"time"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
)

// The layouts of what is signed, for the edge of the tests.
const (
	EnrollTagForTest = enrollTag
	RenewTagForTest  = renewTag
)

var (
	EnrollMessageForTest = enrollMessage
	IssueMessageForTest  = issueMessage
)

// HurryForTest has a node try again after a millisecond, not after 50, and tell
// the edge as soon how far it is.
func HurryForTest() Option {
	return option(func(c *config) error {
		c.pace.redialFirst, c.pace.redialLast = time.Millisecond, 20*time.Millisecond
		c.pace.spread = time.Millisecond
		c.pace.enrollFirst, c.pace.enrollLast = time.Millisecond, 20*time.Millisecond
		return nil
	})
}

// RewatchForTest has a Watch last that long.
func RewatchForTest(d time.Duration) Option {
	return option(func(c *config) error { c.pace.rewatch = d; return nil })
}

// PatientForTest bounds an online check by more than 200 ms, for machines that are
// busy with other tests.
func PatientForTest(d time.Duration) Option {
	return option(func(c *config) error { c.pace.confirm = d; return nil })
}

// QuarantineForTest changes how long a key that may be enrolled is waited for.
func QuarantineForTest(d time.Duration) Option {
	return option(func(c *config) error { c.pace.quarantine = d; return nil })
}

// ReadForTest reads messages as one feed, and returns how many are whole, and the
// first that is refused.
func ReadForTest(messages ...*trustv1.WatchResponse) (whole int, err error) {
	var a assembly
	for _, m := range messages {
		n, err := a.read(m)
		if err != nil {
			return whole, err
		}
		if n != nil {
			whole++
		}
	}
	return whole, nil
}

// AppliedForTest waits until a sequence has been applied.
func AppliedForTest(ctx context.Context, n *Node, sequence uint64) error {
	return n.progress.wait(ctx, sequence)
}

// RenewForTest is the source of renewals.
func RenewForTest(ctx context.Context, n *Node, header string) (string, error) {
	return n.renew(ctx, header)
}
