// Package doctor looks at what an edge, and the services behind it, need from
// where they run, and says what is missing.
//
// It looks from where it runs, and changes nothing. To others it sends nothing but
// handshakes, those of TCP, TLS and HTTP/2, and the health checks that the
// configuration names. What cannot be seen from here is reported as unknown, never
// as in order.
package doctor

import (
	"context"
	"os"
	"sync"
	"time"
)

// Status is what a check comes to.
type Status string

// The statuses.
const (
	// OK is what is as it should be.
	OK Status = "ok"
	// Warning is what an attacker, or the next restart, could make use of.
	Warning Status = "warning"
	// Problem is what does not work, or what must not be possible and is.
	Problem Status = "problem"
	// Unknown is what cannot be seen from here.
	Unknown Status = "unknown"
)

// Finding is what a check has found.
type Finding struct {
	// Check is what was looked at, such as data_dir or routes[2].upstream.
	Check string `json:"check"`
	// Status is what it comes to.
	Status Status `json:"status"`
	// Text says what was seen, and what to do unless the status is ok.
	Text string `json:"text"`
}

// Options say what to look at.
type Options struct {
	// Path is the configuration file. If it is not there, and Services or
	// MustNotReach is given, only these are looked at.
	Path string
	// Services are the URLs of services that take relayed principals, with the
	// schemes of a route's upstream.
	Services []string
	// CA is a PEM file with the authorities that vouch for Services. Default: those
	// of the system.
	CA string
	// MustNotReach are addresses, each a host and a port, that nothing here should
	// be able to connect to.
	MustNotReach []string
	// Within is how long each connection may take. Default: 3s.
	Within time.Duration
	// Now is the clock. Required.
	Now func() time.Time

	// ServiceAccount is the directory where Kubernetes puts the token of a pod,
	// Getenv reads the environment, Sidecar are the addresses that Istio's sidecar
	// listens on. The defaults are what they are in a pod.
	ServiceAccount string
	Getenv         func(string) string
	Sidecar        []string
}

const defaultWithin = 3 * time.Second

// check is one look at something, which may have several sides.
type check func(ctx context.Context) []Finding

// Run makes all checks at the same time, and returns what they found in an order
// that does not change. It takes a few times [Options.Within] at most.
func Run(ctx context.Context, o Options) []Finding {
	if o.Within <= 0 {
		o.Within = defaultWithin
	}
	if o.ServiceAccount == "" {
		o.ServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Sidecar == nil {
		o.Sidecar = []string{"127.0.0.1:15001", "127.0.0.1:15021"}
	}
	d := &doctor{Options: o}
	d.sidecar = d.hasSidecar(ctx)
	cfg, found := d.configuration()
	checks := []check{fixed(found...), d.clock}
	if cfg != nil {
		checks = append(checks, d.ofConfig(cfg)...)
	}
	checks = append(checks, d.ofServices()...)
	checks = append(checks, d.surroundings)
	for _, address := range o.MustNotReach {
		checks = append(checks, d.mustNotReach(address))
	}
	return runAll(ctx, checks)
}

func runAll(ctx context.Context, checks []check) []Finding {
	results := make([][]Finding, len(checks))
	var work sync.WaitGroup
	for i, c := range checks {
		work.Go(func() { results[i] = c(ctx) })
	}
	work.Wait()
	var all []Finding
	for _, r := range results {
		all = append(all, r...)
	}
	return all
}

// doctor is one run.
type doctor struct {
	Options

	sidecar bool // whatever connects from here connects to the sidecar
}

// fixed is a check that was made already.
func fixed(found ...Finding) check {
	return func(context.Context) []Finding { return found }
}

func one(name string, s Status, text string) []Finding {
	return []Finding{{Check: name, Status: s, Text: text}}
}
