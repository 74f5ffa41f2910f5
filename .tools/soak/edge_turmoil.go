package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
)

const (
	betweenRestarts    = 2 * time.Second
	betweenKills       = 5 * time.Second
	betweenReloads     = 3 * time.Second
	betweenRotations   = 10 * time.Second
	betweenRevocations = 4 * time.Second

	endsWithin    = 20 * time.Second // an instance that drains
	revokedWithin = time.Second      // a stream of a user who is revoked
)

// turmoil is what happens to an edge in its life, meanwhile.
type turmoil struct {
	dir      string
	places   places
	provider *provider
	edge     *process
	admin    bffv1connect.AdminServiceClient
	mesh     string
	caller   *caller
	kills    *windows
	failed   *tally

	mu        sync.Mutex
	instances map[string]*process

	restarts, kill, taken, refusedReloads, rotations, revocations atomic.Int64

	revoked histogram // how long a stream went on
}

// run has all of it happen until ctx ends.
func (x *turmoil) run(ctx context.Context, fatal func(error)) {
	var work sync.WaitGroup
	for _, event := range []struct {
		name  string
		every time.Duration
		run   func(ctx context.Context, n int) error
	}{
		{"a restart", betweenRestarts, x.restart},
		{"a kill", betweenKills, x.killOne},
		{"a reload", betweenReloads, x.reload},
		{"a rotation", betweenRotations, x.rotate},
		{"a revocation", betweenRevocations, x.revoke},
	} {
		work.Go(func() {
			for n := 0; wait(ctx, event.every); n++ {
				// What has begun is brought to its end: the figures that follow are of an
				// edge at rest.
				whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
				err := event.run(whole, n)
				cancel()
				if err != nil {
					fatal(fmt.Errorf("%s: %w", event.name, err))
					return
				}
			}
		})
	}
	work.Wait()
}

// wait reports whether ctx has not ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// start starts an instance, which has joined when it returns.
func (x *turmoil) start(ctx context.Context, group string, i int) error {
	token, err := x.admin.CreateEnrollmentToken(ctx, &bffv1.CreateEnrollmentTokenRequest{Service: echoAudience})
	if err != nil {
		return err
	}
	p, err := startProcess(context.WithoutCancel(ctx), "instance", append([]string{x.mesh, token.GetToken()}, x.places.arguments(group, i)...)...)
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.instances[instanceName(group, i)] = p
	return nil
}

func instanceName(group string, i int) string { return group + fmt.Sprint(i) }

func (x *turmoil) instance(group string, i int) *process {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.instances[instanceName(group, i)]
}

func (x *turmoil) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.instances {
		p.stop()
	}
}

// leave has all instances end as they should.
func (x *turmoil) leave() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var work sync.WaitGroup
	var errs tally
	for name, p := range x.instances {
		work.Go(func() {
			if err := p.end(endsWithin); err != nil {
				errs.note("%s: %v", name, err)
			}
		})
	}
	work.Wait()
	clear(x.instances)
	if len(errs.notes) > 0 {
		return errors.New(strings.Join(errs.notes, "; "))
	}
	return nil
}

// restart replaces one of two instances as a service is rolled out.
func (x *turmoil) restart(ctx context.Context, n int) error {
	if err := x.instance(calm, n%2).end(endsWithin); err != nil {
		return err
	}
	defer x.restarts.Add(1)
	return x.start(ctx, calm, n%2)
}

// killOne has one of two instances be gone at once, and for a while.
func (x *turmoil) killOne(ctx context.Context, n int) error {
	x.kills.begin()
	x.instance(killed, n%2).stop()
	defer x.kill.Add(1)
	wait(ctx, time.Second)
	return x.start(ctx, killed, n%2)
}

// broken are changes that no edge may take, by what its refusal has to say.
var broken = []struct{ says, before, after string }{
	{"bodybytes", "body_bytes", "bodybytes"},
	{"issuer", "issuer: " + issuer, "issuer: https://other.soak"},
	{"upstream", "upstream: \"http://calm-plain\"", "upstream: \"calm-plain\""},
	{"sequence", "\nroutes:", "\nroutes: [}"},
	{"mint_window", "mint_window: ", "mint_window: 9"},
}

// reload has the edge follow its file, which by turns is a good one with a route
// more or less, and a bad one that must change nothing.
func (x *turmoil) reload(ctx context.Context, n int) error {
	change := n/2 + 1 // of the last good one
	if n%2 == 0 {
		if err := x.take(ctx, loadedConfig(x.provider.url, x.places, change)); err != nil {
			return err
		}
		x.taken.Add(1)
		return x.checkExtra(ctx, change%2 == 1)
	}
	how := broken[n/2%len(broken)]
	text := loadedConfig(x.provider.url, x.places, change+1)
	bad := strings.Replace(text, how.before, how.after, 1)
	if bad == text {
		return fmt.Errorf("%q is not in the configuration", how.before)
	}
	err := x.take(ctx, bad)
	if err == nil || !strings.Contains(err.Error(), how.says) {
		return fmt.Errorf("a configuration with %q was taken, or refused for another reason: %v", how.after, err)
	}
	x.refusedReloads.Add(1)
	return x.checkExtra(ctx, change%2 == 1)
}

func (x *turmoil) take(ctx context.Context, text string) error {
	path := filepath.Join(x.dir, configFile)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return x.edge.call(ctx, "reload", nil, &struct{}{})
}

// checkExtra tells whether the route is there that comes and goes.
func (x *turmoil) checkExtra(ctx context.Context, there bool) error {
	u := newUser("dave", x.provider.tokenOf("ES256", "dave"))
	r, err := x.caller.request(ctx, http.MethodGet, "extra", "/extra", "", u)
	if err != nil {
		return err
	}
	text, err := x.caller.text(x.caller.old, r)
	var answered statusError
	switch {
	case there && err == nil:
		return same(answerTo("dave", ""), text)
	case !there && errors.As(err, &answered) && answered == http.StatusNotFound:
		return nil
	default:
		return fmt.Errorf("the route that comes and goes, there: %t: %w", there, err)
	}
}

func (x *turmoil) rotate(ctx context.Context, _ int) error {
	defer x.rotations.Add(1)
	return rotate(ctx, x.admin)
}
