package doctor

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// hasSidecar reports whether Istio's sidecar runs in this pod: then it takes
// what is connected to from here, wherever that is.
func (d *doctor) hasSidecar(ctx context.Context) bool {
	for _, address := range d.Sidecar {
		if d.connects(ctx, anywhere, address) != nil {
			return false
		}
	}
	return len(d.Sidecar) > 0
}

// surroundings says what runs the process.
func (d *doctor) surroundings(context.Context) []Finding {
	if d.Getenv("KUBERNETES_SERVICE_HOST") == "" {
		found := one("kubernetes", OK, "this is not a pod")
		if len(d.MustNotReach) == 0 {
			found = append(found, Finding{"network", Unknown, "whether a firewall keeps others from services cannot be seen from here: " +
				"from a machine that must not reach them, run onbehalf doctor --must-not-reach HOST:PORT"})
		}
		return found
	}
	found := one("kubernetes", OK, "this is a pod, without a token for the cluster")
	if _, err := os.Stat(filepath.Join(d.ServiceAccount, "token")); err == nil {
		found = one("kubernetes", Warning, "this is a pod with a token for the cluster, which the edge has no use for: "+
			"write automountServiceAccountToken: false")
	}
	if d.sidecar {
		found = append(found, Finding{"istio", OK, "a sidecar is in this pod: what leaves has its mTLS;" +
			" that services refuse what has not is their PeerAuthentication"})
	} else {
		found = append(found, Finding{"istio", OK, "no sidecar is in this pod: TLS is what the configuration says"})
	}
	if len(d.MustNotReach) == 0 {
		found = append(found, Finding{"network", Unknown, "whether a NetworkPolicy keeps others from services cannot be seen from inside: " +
			"in a pod that must not reach them, run onbehalf doctor --must-not-reach HOST:PORT"})
	}
	return found
}

// mustNotReach tries what should be impossible.
func (d *doctor) mustNotReach(address string) check {
	const name = "must not reach"
	return func(ctx context.Context) []Finding {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return one(name, Problem, address+" is not an address: write a host and a port, such as orders.internal:9000")
		}
		err := d.connects(ctx, anywhere, address)
		dns, unnamed := errors.AsType[*net.DNSError](err)
		switch {
		case err == nil && d.sidecar && !loopback(address):
			return one(name, Unknown, address+" is answered for by the sidecar here: try from a pod without one")
		case err == nil:
			return one(name, Problem, address+" can be reached from here: nothing on the way keeps others out; "+
				"look at the NetworkPolicy or firewall, and whether the network enforces it")
		case unnamed:
			return one(name, Unknown, address+" has no address here ("+dns.Err+"): try its IP address")
		case errors.Is(err, syscall.ECONNREFUSED):
			return one(name, Unknown, address+" refuses the connection: something on the way does so, or nothing runs there; try while it runs")
		default:
			return one(name, OK, address+" cannot be reached from here ("+reason(err)+")")
		}
	}
}
