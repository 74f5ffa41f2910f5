package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

const (
	jwksPath     = "/.well-known/onbehalf/jwks.json"
	maxDocument  = 8 << 20
	pullTimeout  = 5 * time.Second
	pullPatience = 2 * time.Second
	// maxWaiting bounds the calls that wait for a pull: whoever sends made-up key
	// ids must not hold more of them than this.
	maxWaiting = 1024
)

// puller fetches the edge's key set where the feed has not told of a key: it may
// be away, or late.
type puller struct {
	mu      sync.Mutex
	flight  chan struct{} // closed when the fetch under way ends
	last    time.Time
	waiting int
}

// pull waits for a fetch that is under way, or that it begins, and reports
// whether there was one.
func (n *Node) pull(ctx context.Context) bool {
	flight := n.takeOff()
	if flight == nil {
		return false
	}
	timer := time.NewTimer(pullPatience)
	defer timer.Stop()
	select {
	case <-flight:
	case <-timer.C:
	case <-ctx.Done():
	}
	n.puller.mu.Lock()
	defer n.puller.mu.Unlock()
	n.puller.waiting--
	return true
}

func (n *Node) takeOff() <-chan struct{} {
	p, now := &n.puller, n.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting >= maxWaiting {
		return nil
	}
	if p.flight == nil {
		if !p.last.IsZero() && now.Sub(p.last) < n.pace.pull {
			return nil
		}
		flight := make(chan struct{})
		if !n.start(func(ctx context.Context) { n.fly(ctx, flight) }) {
			return nil
		}
		p.flight, p.last = flight, now
	}
	p.waiting++
	return p.flight
}

func (n *Node) fly(ctx context.Context, flight chan struct{}) {
	removals := n.keys.removed()
	found, err := n.fetch(ctx)
	if err != nil {
		n.logger.WarnContext(ctx, "key set not fetched", "edge", n.lines.origin.String(), "error", err)
	} else {
		n.keys.addPulled(found, removals, n.now())
	}
	n.puller.mu.Lock()
	defer n.puller.mu.Unlock()
	close(flight)
	n.puller.flight = nil
}

// fetch gets the key set over a connection of its own: that of the feed may be
// what is broken.
func (n *Node) fetch(ctx context.Context) ([]principal.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	line := n.lines.open()
	defer line.close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.lines.origin.JoinPath(jwksPath).String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("Cache-Control", "no-cache")
	res, err := line.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("trust: the edge answers with status %d", res.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxDocument {
		return nil, errors.New("trust: the key set is larger than 8 MiB")
	}
	found, _, err := keyset.Parse(data) // the feed logs what cannot be used
	return found, err
}
