package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"

	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/tools/bench/measure"
)

// method is what is called: grpc-go brings the code for it along, and with a
// rule it is a method like any other one. Request and answer are a few bytes.
const method = grpc_health_v1.Health_Check_FullMethodName

// hop is a call from the first service of path to the second one.
type hop struct {
	ctx        context.Context //nolint:containedctx // of the handler that makes the call
	propagator *principal.Propagator
	guard      *principal.Guard
}

func (w *world) hop(m mode) (h hop, err error) {
	header, err := w.sign(m)
	if err != nil {
		return hop{}, err
	}
	if h.ctx, err = w.arrive(path[0], header); err != nil {
		return hop{}, err
	}
	if h.propagator, err = w.propagator(path[0]); err != nil {
		return hop{}, err
	}
	h.guard, err = w.guard(path[1], method)
	return h, err
}

// handler serves the method. It checks what it is told of its caller, as a
// measure of something that was not done would be a good one.
type handler struct {
	grpc_health_v1.UnimplementedHealthServer

	check func(context.Context) error
}

// Check implements [grpc_health_v1.HealthServer].
func (h handler) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if err := h.check(ctx); err != nil {
		return nil, err
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

func checkNothing(context.Context) error { return nil }

var errNoPrincipal = errors.New("the handler sees no principal of the right mode")

func checkPrincipal(m mode) func(context.Context) error {
	return func(ctx context.Context) error {
		if p, ok := principal.FromContext(ctx); !ok || p.Relay() != (m == relay) {
			return errNoPrincipal
		}
		return nil
	}
}

type claimsKey struct{}

func withClaims(ctx context.Context, c *claims) context.Context {
	return context.WithValue(ctx, claimsKey{}, c)
}

func checkClaims(ctx context.Context) error {
	c, ok := ctx.Value(claimsKey{}).(*claims)
	if !ok {
		return errJWT
	}
	return c.mayRead()
}

// way is one way of making the call.
type way struct {
	name  string
	bound float64
	cause string // of a miss
	// start starts a server and returns what calls it once.
	start func() (call func() error, err error)
}

// mostLookups is how many keys are looked up at most while a figure is measured:
// two for the first call, and two whenever a link is renewed, every 30 s.
const mostLookups = 10

// callFigures compares all other ways with the first one.
func callFigures(w *world, stack string, ways []way) ([]figure, error) {
	works := make([]measure.Work, len(ways))
	for i, way := range ways {
		works[i].Name = stack + " call, " + way.name
		var call func() error
		var err error
		pprof.Do(context.Background(), pprof.Labels("work", works[i].Name), func(context.Context) { call, err = way.start() })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", works[i].Name, err)
		}
		works[i].Do = func(n int) error {
			for range n {
				if err := call(); err != nil {
					return err
				}
			}
			return nil
		}
	}
	var figures []figure
	for i, way := range ways[1:] {
		figures = append(figures, figure{name: works[i+1].Name, bound: way.bound, cause: way.cause, unit: times, measure: func(p measure.Plan) (measured, error) {
			before := w.keys.found.Load()
			m, err := compareCalls(p, works[0], works[i+1])
			if found := w.keys.found.Load() - before; err == nil && found > mostLookups {
				err = fmt.Errorf("%d look-ups of keys: headers were verified anew", found)
			}
			return m, err
		}})
	}
	return figures, nil
}

// compareCalls also compares on one processor. With more, a call waits for the
// other one to wake up, which differs from run to run; with one it takes as long
// as there is work.
func compareCalls(p measure.Plan, base, other measure.Work) (measured, error) {
	m, err := compareWithAllocations(p, base, other)
	if err != nil {
		return measured{}, err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	r, err := p.Compare(base, other)
	m.beside += fmt.Sprintf("; on one CPU %s, %s", times(r.Median), brief(r.Other))
	return m, err
}

// verifyBearer verifies the token in an Authorization header (RFC 6750).
func (j *jwtPeer) verifyBearer(values []string) (*claims, error) {
	if len(values) != 1 {
		return nil, errJWT
	}
	token, ok := strings.CutPrefix(values[0], "Bearer ")
	if !ok {
		return nil, errJWT
	}
	return j.verify(token)
}
