package trust

import (
	"context"
	"math/rand/v2"
	"time"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
)

const reportTimeout = 5 * time.Second

// say has the edge told how far this service has come.
func (n *Node) say() {
	select {
	case n.unsaid <- struct{}{}:
	default: // will be told, with all that came since
	}
}

// reportAll tells the edge how far this service has come: soon when what is
// revoked has changed, or who issues, as the edge may be waiting for it, else now
// and then. Not at once: all services have the same to tell at the same moment,
// when the edge has yet to tell others. What comes meanwhile is one report.
func (n *Node) reportAll(ctx context.Context) {
	retry := backoff{first: n.pace.redialFirst, last: n.pace.redialLast}
	for {
		timer := time.NewTimer(n.pace.report)
		wait := time.Duration(0)
		select {
		case <-ctx.Done():
		case <-n.unsaid:
			wait = n.pace.spread + rand.N(n.pace.spread+1) //nolint:gosec // nothing secret hangs on it
		case <-timer.C:
		}
		timer.Stop()
		if !pause(ctx, wait) {
			return
		}
		if n.report(ctx) {
			retry.reset()
			continue
		}
		if !pause(ctx, retry.next()) {
			return
		}
		n.say()
	}
}

func (n *Node) report(ctx context.Context) bool {
	sequence := n.progress.at()
	line := n.current.Load()
	if sequence == 0 || line == nil || n.followTrouble() != nil {
		return true // there is nothing to tell, or the next Watch will tell it
	}
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	_, err := line.rpc.Report(ctx, &trustv1.ReportRequest{Service: n.service, Instance: n.instance, Sequence: sequence})
	return err == nil
}
