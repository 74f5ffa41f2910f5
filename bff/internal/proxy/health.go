package proxy

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// HealthKind is what a check of health asks.
type HealthKind string

// The kinds.
const (
	// HealthTCP connects, and shakes hands if the upstream has TLS.
	HealthTCP HealthKind = "tcp"
	// HealthHTTP gets a path, and wants a status of 200 to 299.
	HealthHTTP HealthKind = "http"
	// HealthGRPC calls grpc.health.v1.Health/Check, and wants SERVING.
	HealthGRPC HealthKind = "grpc"
)

// HealthCheck says how each endpoint of an upstream is asked whether it is well.
// The question is the edge's own: it goes out on a connection of its own, with the
// edge's certificate as requests do, and has nothing of any client. The zero value
// is no check; otherwise all fields but Service and Path are required.
type HealthCheck struct {
	// Kind is what is asked.
	Kind HealthKind
	// Service is the service that gRPC is asked about. Empty is the whole server.
	Service string
	// Path is what HTTP gets.
	Path string
	// Interval is between two checks, a tenth more or less.
	Interval time.Duration
	// Timeout is how long a check may take.
	Timeout time.Duration
	// HealthyAfter and UnhealthyAfter are how many checks in a row change what is
	// believed. The very first one decides alone.
	HealthyAfter, UnhealthyAfter int
}

func (c HealthCheck) check(scheme string) error {
	if c == (HealthCheck{}) {
		return nil
	}
	switch {
	case c.Kind != HealthTCP && c.Kind != HealthHTTP && c.Kind != HealthGRPC:
		return fmt.Errorf("proxy: health check %.64q is unknown; write grpc, http or tcp", c.Kind)
	case c.Kind == HealthGRPC && scheme == "http":
		return errors.New("proxy: a health check in gRPC needs an upstream of h2c or https")
	case (c.Kind == HealthHTTP) != strings.HasPrefix(c.Path, "/"):
		return errors.New("proxy: a health check in HTTP, and no other, needs a path that begins with a slash")
	case c.Kind != HealthGRPC && c.Service != "":
		return errors.New("proxy: only a health check in gRPC is about a service")
	case c.Interval <= 0 || c.Timeout <= 0 || c.HealthyAfter <= 0 || c.UnhealthyAfter <= 0:
		return errors.New("proxy: the times and numbers of a health check are above 0")
	}
	return nil
}

// checker asks endpoints, each by itself, from start until close.
type checker struct {
	endpoints *endpoints
	upstream  Upstream
	work      sync.WaitGroup
	ctx       context.Context //nolint:containedctx // of all checks
	cancel    context.CancelFunc
}

func newChecker(e *endpoints, u Upstream) *checker {
	c := &checker{endpoints: e, upstream: u}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *checker) start() {
	for _, one := range c.endpoints.all {
		c.work.Go(func() { c.watch(one) })
	}
}

// close returns when no check is under way.
func (c *checker) close() {
	c.cancel()
	c.work.Wait()
}

func (c *checker) watch(one *endpoint) {
	p := newProbe(c.upstream, one.address)
	differ, first := 0, true
	for {
		err := p.run(c.ctx)
		if c.ctx.Err() != nil {
			return
		}
		after := c.upstream.HealthCheck.HealthyAfter
		if err != nil {
			after = c.upstream.HealthCheck.UnhealthyAfter
		}
		if differ++; c.endpoints.believes(one, err == nil) {
			differ = 0
		} else if first || differ >= after {
			c.endpoints.believe(one, err)
			differ = 0
		}
		first = false
		timer := time.NewTimer(jittered(c.upstream.HealthCheck.Interval))
		select {
		case <-c.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// jittered keeps edges that began together from asking together.
func jittered(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1) //nolint:gosec // only spreads checks
}

func (e *endpoints) believes(one *endpoint, healthy bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return one.unhealthy != healthy
}

// believe takes one for healthy if err is nil, and tells the operator.
func (e *endpoints) believe(one *endpoint, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	one.unhealthy = err != nil
	healthy := 0
	for _, other := range e.all {
		if !other.unhealthy {
			healthy++
		}
	}
	log := e.log.With("upstream", e.upstream, "endpoint", one.address, "healthy", healthy, "of", len(e.all))
	if err == nil {
		log.Info("endpoint is healthy")
		return
	}
	cause, check := unhealthyBecause(err)
	log.Warn("endpoint is not healthy", "cause", cause, "check", check)
}
