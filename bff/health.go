package bff

import (
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// HealthCheck says how each endpoint of a route is asked whether it is well, for as
// long as the route is in the configuration. One that is not gets requests only
// while no other is: if all of them fail the check, it is the check that is not
// believed, and requests go to all. The question has a connection of its own and
// nothing of any client. What changes is one line of the log; onbehalf doctor asks
// as well.
type HealthCheck struct {
	// Kind is grpc, http or tcp: grpc.health.v1.Health/Check, which is to answer
	// SERVING; a GET, which is to answer 200 to 299; or only a connection, with a
	// handshake if the upstream is https. Required; without it nothing is checked.
	Kind HealthKind `yaml:"kind"`

	// Service is what grpc asks about, such as shop.orders.v1.Orders. Default: the
	// server as a whole.
	Service string `yaml:"service"`

	// Path is what http gets, such as /healthz. Required with kind: http.
	Path string `yaml:"path"`

	// Interval is between two checks of an endpoint, a tenth more or less. Default:
	// 5s; at least 1s.
	Interval time.Duration `yaml:"interval"`

	// Timeout is how long a check may take. Default: 1s; at most Interval.
	Timeout time.Duration `yaml:"timeout"`

	// HealthyAfter and UnhealthyAfter are how many checks in a row must say so until
	// it is believed; the very first decides alone. Default: 1 and 3; at most 100.
	HealthyAfter   int `yaml:"healthy_after"`
	UnhealthyAfter int `yaml:"unhealthy_after"`
}

// HealthKind is what a check of health asks.
type HealthKind string

// The kinds.
const (
	HealthGRPC HealthKind = "grpc"
	HealthHTTP HealthKind = "http"
	HealthTCP  HealthKind = "tcp"
)

func (h *HealthCheck) setDefaults() {
	if *h == (HealthCheck{}) {
		return
	}
	or(&h.Interval, 5*time.Second)
	or(&h.Timeout, time.Second)
	or(&h.HealthyAfter, 1)
	or(&h.UnhealthyAfter, 3)
}

func (h *HealthCheck) forProxy() proxy.HealthCheck {
	return proxy.HealthCheck{
		Kind: proxy.HealthKind(h.Kind), Service: h.Service, Path: h.Path,
		Interval: h.Interval, Timeout: h.Timeout, HealthyAfter: h.HealthyAfter, UnhealthyAfter: h.UnhealthyAfter,
	}
}

func (v *validator) healthCheck(at string, h *HealthCheck, scheme string) {
	if *h == (HealthCheck{}) {
		return
	}
	switch h.Kind {
	case HealthGRPC, HealthHTTP, HealthTCP:
	case "":
		v.problemf(at+".kind", "missing; write grpc, http or tcp")
		return
	default:
		v.problemf(at+".kind", "%.64q is unknown; write grpc, http or tcp", h.Kind)
		return
	}
	if h.Kind == HealthGRPC && scheme == "http" {
		v.problemf(at+".kind", "grpc needs HTTP/2; write h2c or https in upstream, or kind: http")
	}
	if h.Service != "" && h.Kind != HealthGRPC {
		v.problemf(at+".service", "is for kind: grpc; remove it")
	}
	if h.Kind == HealthHTTP && !strings.HasPrefix(h.Path, "/") {
		v.problemf(at+".path", "%.64q does not begin with a slash; write one such as /healthz", h.Path)
	} else if h.Kind != HealthHTTP && h.Path != "" {
		v.problemf(at+".path", "is for kind: http; remove it")
	}
	between(v, at+".interval", h.Interval, time.Second, time.Hour)
	between(v, at+".timeout", h.Timeout, 10*time.Millisecond, h.Interval)
	between(v, at+".healthy_after", h.HealthyAfter, 1, 100)
	between(v, at+".unhealthy_after", h.UnhealthyAfter, 1, 100)
}
