package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/trust"
)

const anything = "/soak/Any"

// member is one service.
type member struct {
	node  *trust.Node
	guard *principal.Guard
}

// services are all services of a run, in one process.
type services struct {
	dir, mode          string
	edge, mesh, public string

	members []*member
	header  chan string // what the edge forwards to /hold
	ended   chan int64  // when a held call or a stream ended
	want    int
	user    string

	load struct {
		stop          context.CancelFunc
		work          sync.WaitGroup
		calls, failed atomic.Int64
		each          chan string
	}
	through *cutter
	streams *streams
}

func servicesMain(dir, mode, edge string) error {
	// A thousand services share this process: each would have a garbage of its own
	// to collect, and not wait for that of all others. It is collected between what
	// is timed.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(8 << 30)
	part := strings.Fields(edge) // what the edge said when it was ready
	if len(part) != 4 {
		return fmt.Errorf("the edge said %q", edge)
	}
	s := &services{dir: dir, mode: mode, edge: part[0], mesh: part[1], public: part[2], header: make(chan string, 1), ended: make(chan int64, 1<<16)}
	upstream, err := net.Listen("tcp", part[3])
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/hold", func(_ http.ResponseWriter, r *http.Request) { s.header <- r.Header.Get(principal.HeaderName) })
	mux.HandleFunc("/each", s.verifyAnywhere)
	go func() { _ = (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(upstream) }()
	c := newControl()
	c.on("join", s.join)
	c.on("hold/begin", s.holdBegin)
	c.on("hold/end", s.collect)
	c.on("streams/begin", s.streamsBegin)
	c.on("streams/end", s.streamsEnd)
	c.on("cut/begin", s.cutBegin)
	c.on("cut/end", s.cutEnd)
	c.on("load/begin", s.loadBegin)
	c.on("load/end", s.loadEnd)
	return c.serve()
}

// join has n services join, eight at a time.
func (s *services) join(r *http.Request) (any, error) {
	var args struct{ N int }
	if err := json.NewDecoder(r.Body).Decode(&args); err != nil {
		return nil, err
	}
	s.members = make([]*member, args.N)
	errs := make([]error, args.N)
	var work sync.WaitGroup
	turn := make(chan struct{}, 8)
	for i := range args.N {
		turn <- struct{}{}
		work.Go(func() {
			s.members[i], errs[i] = s.member(r.Context(), fmt.Sprintf("s%d", i), s.mesh)
			<-turn
		})
	}
	work.Wait()
	return struct{}{}, errors.Join(errs...)
}

func (s *services) member(ctx context.Context, name, mesh string) (*member, error) {
	token, err := s.token(ctx, name)
	if err != nil {
		return nil, err
	}
	opts := []trust.Option{
		trust.WithEnrollmentToken(token), trust.WithVerifierOptions(principal.AcceptRelay(trustDomain)),
		trust.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))),
	}
	if s.mode == "tls" {
		conf, err := trusting(s.dir)
		if err != nil {
			return nil, err
		}
		opts = append(opts, trust.WithTLSConfig(conf))
	}
	node, err := trust.Join(ctx, mesh, name, opts...)
	if err != nil {
		return nil, err
	}
	rules := (&principal.Rules{}).WithMethod(anything, &principalv1.AccessRule{}).
		WithService("grpc.health.v1.Health", &principalv1.AccessRule{})
	guard, err := principal.NewGuard(node.Verifier(), rules)
	return &member{node: node, guard: guard}, err
}

func (s *services) token(ctx context.Context, name string) (string, error) {
	var made bffv1.CreateEnrollmentTokenResponse
	p := &process{base: s.edge}
	err := p.call(ctx, "token?service="+name, nil, &made)
	return made.GetToken(), err
}

// get makes a request through the edge.
func (s *services) get(ctx context.Context, path, user string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.public+path, http.NoBody)
	if err != nil {
		return err
	}
	r.Header.Set(credential, user)
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the edge answers %d: %s", res.StatusCode, bytes.TrimSpace(text))
	}
	return nil
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}

// principalOf returns a principal that the edge makes for a user.
func (s *services) principalOf(ctx context.Context, user string) (string, error) {
	if err := s.get(ctx, "/hold", user); err != nil {
		return "", err
	}
	return <-s.header, nil
}

// hold has the service let in a call that ends when its principal is revoked.
func (s *services) hold(ctx context.Context, m *member, header string) error {
	a, err := m.guard.Admit(ctx, principal.Call{Procedure: anything, Values: []string{header}, Text: true})
	if err != nil {
		return err
	}
	if !a.Hold(new(principal.Hold), &ender{m: m, header: header, ended: s.ended}) {
		return errors.New("the call cannot be ended")
	}
	return nil
}

// ender notes when a call was ended, if from then on others are refused.
type ender struct {
	m      *member
	header string
	ended  chan<- int64
	once   sync.Once
}

// Terminate implements [principal.Ender].
func (e *ender) Terminate(principal.Reason) {
	e.once.Do(func() {
		_, err := e.m.guard.Admit(context.Background(), principal.Call{Procedure: anything, Values: []string{e.header}, Text: true})
		if principal.ReasonOf(err) == principal.ReasonRevoked {
			e.ended <- time.Now().UnixNano()
		}
	})
}

func (s *services) holdBegin(r *http.Request) (any, error) {
	s.user = r.FormValue("user")
	header, err := s.principalOf(r.Context(), s.user)
	if err != nil {
		return nil, err
	}
	for _, m := range s.members {
		if err := s.hold(r.Context(), m, header); err != nil {
			return nil, err
		}
	}
	s.want = len(s.members)
	runtime.GC()
	return map[string]string{"Session": sessionOf(s.user).String()}, nil
}

// collect waits until all that was begun has ended.
func (s *services) collect(r *http.Request) (any, error) {
	at := make([]int64, 0, s.want)
	for len(at) < s.want {
		select {
		case one := <-s.ended:
			at = append(at, one)
		case <-time.After(20 * time.Second):
			return nil, fmt.Errorf("%d of %d have not ended", s.want-len(at), s.want)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return map[string][]int64{"At": at}, nil
}
