package deploy_test

import (
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// pod is one that could connect, or be connected to.
type pod struct {
	namespace string
	labels    labels.Set
}

var (
	edgePod    = pod{"onbehalf", labels.Set{"app.kubernetes.io/name": "onbehalf"}}
	orders     = pod{"shop", labels.Set{"app.kubernetes.io/part-of": "shop", "app.kubernetes.io/name": "orders"}}
	intruder   = pod{"default", labels.Set{"app.kubernetes.io/part-of": "shop", "app.kubernetes.io/name": "onbehalf"}}
	unlabelled = pod{"shop", labels.Set{"app.kubernetes.io/name": "batch"}}
	prometheus = pod{"monitoring", labels.Set{"app.kubernetes.io/name": "prometheus"}}
	neighbour  = pod{"onbehalf", labels.Set{"app.kubernetes.io/name": "debug"}}
)

func TestWhoReachesWhom(t *testing.T) {
	t.Parallel()
	c := load(t)
	cfg := c.configuration(t)
	public, mesh, admin, metrics := portOf(t, cfg.Listen.Public), portOf(t, cfg.Listen.Mesh), portOf(t, cfg.Listen.Admin), portOf(t, cfg.Listen.Metrics)
	for _, test := range []struct {
		name     string
		from, to pod
		port     int32
		want     bool
	}{
		{"the edge reaches services", edgePod, orders, 9000, true},
		{"services reach each other", orders, orders, 9000, true},
		{"a pod of another namespace that calls itself the edge", intruder, orders, 9000, false},
		{"a pod of the services' namespace that is none", unlabelled, orders, 9000, false},
		{"a pod beside the edge", neighbour, orders, 9000, false},
		{"the edge, at another port of a service", edgePod, orders, 15000, false},
		{"everybody reaches the public port", intruder, edgePod, public, true},
		{"services reach the mesh port", orders, edgePod, mesh, true},
		{"others at the mesh port", unlabelled, edgePod, mesh, false},
		{"a pod of another namespace at the mesh port", intruder, edgePod, mesh, false},
		{"services at the admin port", orders, edgePod, admin, false},
		{"the other edge at the admin port", edgePod, edgePod, admin, false},
		{"Prometheus reaches the metrics", prometheus, edgePod, metrics, true},
		{"services at the metrics", orders, edgePod, metrics, false},
		{"Prometheus at the admin port", prometheus, edgePod, admin, false},
	} {
		got := c.allows(t, networkingv1.PolicyTypeIngress, test.to, test.from, test.port)
		if test.want { // what is to be refused is refused without the help of the attacker's own policies
			got = got && c.allows(t, networkingv1.PolicyTypeEgress, test.from, test.to, test.port)
		}
		if got != test.want {
			t.Errorf("%s: reaches it: %v", test.name, got)
		}
	}
}

// allows does what Kubernetes says of policies: what none selects is open, and
// what one selects is open to what any of them names.
func (c *cluster) allows(t *testing.T, direction networkingv1.PolicyType, of, peer pod, port int32) bool {
	t.Helper()
	selected := false
	for _, p := range c.policies {
		if p.Namespace != of.namespace || !slices.Contains(p.Spec.PolicyTypes, direction) || !match(t, &p.Spec.PodSelector, of.labels) {
			continue
		}
		selected = true
		if direction == networkingv1.PolicyTypeIngress {
			for _, r := range p.Spec.Ingress {
				if named(t, r.From, r.Ports, p.Namespace, peer, port) {
					return true
				}
			}
			continue
		}
		for _, r := range p.Spec.Egress {
			if named(t, r.To, r.Ports, p.Namespace, peer, port) {
				return true
			}
		}
	}
	return !selected
}

func named(t *testing.T, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, namespace string, peer pod, port int32) bool {
	t.Helper()
	if len(ports) > 0 && !slices.ContainsFunc(ports, func(p networkingv1.NetworkPolicyPort) bool { return p.Port.IntVal == port }) {
		return false
	}
	return len(peers) == 0 || slices.ContainsFunc(peers, func(p networkingv1.NetworkPolicyPeer) bool {
		switch {
		case p.IPBlock != nil:
			return false // no pod
		case p.NamespaceSelector == nil && peer.namespace != namespace:
			return false
		case p.NamespaceSelector != nil && !match(t, p.NamespaceSelector, labels.Set{"kubernetes.io/metadata.name": peer.namespace}):
			return false
		}
		return p.PodSelector == nil || match(t, p.PodSelector, peer.labels)
	})
}

// The labels of the pods above are those of the files.
func TestPodsOfTheTest(t *testing.T) {
	t.Parallel()
	c := load(t)
	if !match(t, metav1.SetAsLabelSelector(edgePod.labels), c.sets[0].Spec.Template.Labels) || c.sets[0].Namespace != edgePod.namespace {
		t.Errorf("the pods of the edge have the labels %v", c.sets[0].Spec.Template.Labels)
	}
}
