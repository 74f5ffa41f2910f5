package deploy_test

import (
	"bytes"
	"encoding/json"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	securityv1beta1 "istio.io/api/security/v1beta1"
	typev1beta1 "istio.io/api/type/v1beta1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/yaml"

	"github.com/onbehalf-dev/onbehalf/bff"
)

// cluster is what is in the files.
type cluster struct {
	namespaces []corev1.Namespace
	accounts   []corev1.ServiceAccount
	configs    []corev1.ConfigMap
	sets       []appsv1.StatefulSet
	services   []corev1.Service
	budgets    []policyv1.PodDisruptionBudget
	policies   []networkingv1.NetworkPolicy
	peers      []*securityv1beta1.PeerAuthentication
	access     []*securityv1beta1.AuthorizationPolicy
}

// load reads all files. A key that Kubernetes or Istio does not know is an error.
func load(t *testing.T) *cluster {
	t.Helper()
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	istio, err := filepath.Glob("kubernetes/istio/*.yaml")
	if err != nil || len(files) == 0 || len(istio) == 0 {
		t.Fatal("files are missing", err)
	}
	c := new(cluster)
	for _, name := range append(files, istio...) {
		for _, document := range regexp.MustCompile(`(?m)^---$`).Split(string(read(t, name)), -1) {
			c.add(t, name, []byte(document))
		}
	}
	return c
}

func (c *cluster) add(t *testing.T, name string, document []byte) {
	t.Helper()
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	switch kind.APIVersion + " " + kind.Kind {
	case "v1 Namespace":
		c.namespaces = append(c.namespaces, decode[corev1.Namespace](t, name, document))
	case "v1 ServiceAccount":
		c.accounts = append(c.accounts, decode[corev1.ServiceAccount](t, name, document))
	case "v1 ConfigMap":
		c.configs = append(c.configs, decode[corev1.ConfigMap](t, name, document))
	case "apps/v1 StatefulSet":
		c.sets = append(c.sets, decode[appsv1.StatefulSet](t, name, document))
	case "v1 Service":
		c.services = append(c.services, decode[corev1.Service](t, name, document))
	case "policy/v1 PodDisruptionBudget":
		c.budgets = append(c.budgets, decode[policyv1.PodDisruptionBudget](t, name, document))
	case "networking.k8s.io/v1 NetworkPolicy":
		c.policies = append(c.policies, decode[networkingv1.NetworkPolicy](t, name, document))
	case "security.istio.io/v1 PeerAuthentication":
		spec := new(securityv1beta1.PeerAuthentication)
		decodeIstio(t, name, document, spec)
		c.peers = append(c.peers, spec)
	case "security.istio.io/v1 AuthorizationPolicy":
		spec := new(securityv1beta1.AuthorizationPolicy)
		decodeIstio(t, name, document, spec)
		c.access = append(c.access, spec)
	default:
		t.Errorf("%s: nobody checks %v", name, kind)
	}
}

func decode[T any](t *testing.T, name string, document []byte) (v T) {
	t.Helper()
	if err := yaml.UnmarshalStrict(document, &v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return v
}

func decodeIstio(t *testing.T, name string, document []byte, spec proto.Message) {
	t.Helper()
	object := decode[struct {
		metav1.TypeMeta   `json:",inline"`
		metav1.ObjectMeta `json:"metadata"`
		Spec              json.RawMessage `json:"spec"`
	}](t, name, document)
	if err := protojson.Unmarshal(object.Spec, spec); err != nil {
		t.Fatalf("%s: %s: %v", name, object.Name, err)
	}
}

// patched is the StatefulSet with a signing key from a Secret.
func patched(t *testing.T) appsv1.StatefulSet {
	t.Helper()
	set, err := json.Marshal(load(t).sets[0])
	if err != nil {
		t.Fatal(err)
	}
	patch, err := yaml.YAMLToJSONStrict(read(t, "kubernetes/signing-key/patch.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	merged, err := strategicpatch.StrategicMergePatch(set, patch, appsv1.StatefulSet{})
	if err != nil {
		t.Fatal(err)
	}
	return decode[appsv1.StatefulSet](t, "the patched StatefulSet", merged)
}

// configuration is what is in the ConfigMap.
func (c *cluster) configuration(t *testing.T) *bff.Config {
	t.Helper()
	if len(c.configs) != 1 || len(c.sets) != 1 {
		t.Fatal("got another number of ConfigMaps and StatefulSets than one each")
	}
	name := write(t, filepath.Join(t.TempDir(), "onbehalf.yaml"), []byte(c.configs[0].Data["onbehalf.yaml"]), 0o600)
	cfg, err := bff.LoadConfig(name)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestConfigurationOfThePods(t *testing.T) {
	t.Parallel()
	c := load(t)
	cfg := c.configuration(t)
	set := c.sets[0].Spec
	pod := set.Template.Spec
	container := pod.Containers[0]
	if *set.Replicas > 1 && cfg.Store.URL == "" {
		t.Error("several edges, and no store that they share")
	}
	grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	if drain := cfg.Limits.DrainDelay + cfg.Limits.Drain; grace < drain+5*time.Second {
		t.Errorf("a pod has %v to end, and may take %v", grace, drain)
	}
	understood(t, append([]string{inImage}, container.Args...))
	for _, probe := range []*corev1.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
		understood(t, probe.Exec.Command)
		if address := probe.Exec.Command[len(probe.Exec.Command)-1]; address != cfg.Listen.Admin {
			t.Errorf("a probe asks %s, and listen.admin is %s", address, cfg.Listen.Admin)
		}
	}
	if !strings.HasPrefix(cfg.Listen.Admin, "127.0.0.1:") {
		t.Errorf("listen.admin is %s, which other pods reach", cfg.Listen.Admin)
	}
	for name, address := range map[string]string{"public": cfg.Listen.Public, "mesh": cfg.Listen.Mesh, "metrics": cfg.Listen.Metrics} {
		if port := portOf(t, address); !slices.ContainsFunc(container.Ports, func(p corev1.ContainerPort) bool { return p.Name == name && p.ContainerPort == port }) {
			t.Errorf("the container's port %s is not %s", name, address)
		}
	}
}

// Every file that the configuration names lies in a volume, which is one of the pod.
func TestFilesOfThePods(t *testing.T) {
	t.Parallel()
	c := load(t)
	cfg := c.configuration(t)
	for _, set := range []appsv1.StatefulSet{c.sets[0], patched(t)} {
		pod := set.Spec.Template.Spec
		var volumes []string
		for _, v := range pod.Volumes {
			volumes = append(volumes, v.Name)
		}
		for _, claim := range set.Spec.VolumeClaimTemplates {
			volumes = append(volumes, claim.Name)
		}
		var places []string
		for _, container := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
			for _, m := range container.VolumeMounts {
				if !slices.Contains(volumes, m.Name) {
					t.Errorf("%s mounts %s, which the pod has not", container.Name, m.Name)
				}
			}
		}
		for _, m := range pod.Containers[0].VolumeMounts {
			places = append(places, m.MountPath)
		}
		files := []string{cfg.DataDir, cfg.TLS.Cert, cfg.TLS.Key, cfg.MeshTLS.Cert, cfg.MeshTLS.Key, cfg.Store.Credentials, cfg.Store.CA, pod.Containers[0].Args[2]}
		for _, f := range files {
			if !slices.ContainsFunc(places, func(dir string) bool { return strings.HasPrefix(f, dir+"/") }) {
				t.Errorf("%s is in no volume", f)
			}
		}
	}
}

func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	pod := patched(t).Spec.Template.Spec
	s := pod.SecurityContext
	if !*s.RunAsNonRoot || *s.RunAsUser != 65532 || *s.FSGroup != 65532 || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("got %v", s)
	}
	if *pod.AutomountServiceAccountToken {
		t.Error("the pod has a token for the cluster")
	}
	for _, container := range append(slices.Clone(pod.InitContainers), pod.Containers...) {
		s := container.SecurityContext
		if *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: got %v", container.Name, s)
		}
	}
}

func TestSelectors(t *testing.T) {
	t.Parallel()
	c := load(t)
	set := c.sets[0]
	pod := labels.Set(set.Spec.Template.Labels)
	selectors := map[string]*metav1.LabelSelector{"the StatefulSet": set.Spec.Selector}
	for _, b := range c.budgets {
		selectors["budget "+b.Name] = b.Spec.Selector
	}
	for _, s := range c.services {
		selectors["service "+s.Name] = metav1.SetAsLabelSelector(s.Spec.Selector)
		for _, p := range s.Spec.Ports {
			if !slices.ContainsFunc(set.Spec.Template.Spec.Containers[0].Ports, func(have corev1.ContainerPort) bool { return have.Name == p.TargetPort.StrVal }) {
				t.Errorf("service %s: the pod has no port %s", s.Name, p.TargetPort.StrVal)
			}
		}
	}
	for what, selector := range selectors {
		if !match(t, selector, pod) {
			t.Errorf("%s does not select the pods of the edge", what)
		}
	}
	for _, o := range []metav1.ObjectMeta{c.accounts[0].ObjectMeta, c.configs[0].ObjectMeta, set.ObjectMeta} {
		if o.Namespace != c.namespaces[0].Name {
			t.Errorf("%s is in another namespace", o.Name)
		}
	}
	if set.Spec.Template.Spec.ServiceAccountName != c.accounts[0].Name {
		t.Error("the pods have another service account")
	}
	if !slices.ContainsFunc(c.services, func(s corev1.Service) bool { return s.Name == set.Spec.ServiceName }) {
		t.Errorf("there is no service %s", set.Spec.ServiceName)
	}
}

func match(t *testing.T, selector *metav1.LabelSelector, set labels.Set) bool {
	t.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(set)
}

func portOf(t *testing.T, address string) int32 {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	n, bad := strconv.ParseInt(port, 10, 32)
	if err != nil || bad != nil {
		t.Fatalf("%q is not an address", address)
	}
	return int32(n)
}

func TestIstio(t *testing.T) {
	t.Parallel()
	c := load(t)
	for _, p := range c.peers {
		if p.GetMtls().GetMode() != securityv1beta1.PeerAuthentication_MutualTLS_STRICT || p.GetSelector() != nil {
			t.Errorf("got %v, which leaves plaintext open", p)
		}
	}
	if len(c.peers) != 2 || len(c.access) != 2 {
		t.Fatalf("got %d and %d objects", len(c.peers), len(c.access))
	}
	nothing, services := c.access[0], c.access[1]
	if len(nothing.GetRules()) != 0 || nothing.GetSelector() != (*typev1beta1.WorkloadSelector)(nil) {
		t.Errorf("%v does not refuse what no other policy takes", nothing)
	}
	from := services.GetRules()[0].GetFrom()
	want := "cluster.local/ns/" + c.namespaces[0].Name + "/sa/" + c.accounts[0].Name
	if got := from[0].GetSource().GetPrincipals(); !slices.Equal(got, []string{want}) {
		t.Errorf("got %q for the edge, want %q", got, want)
	}
	for _, r := range c.configuration(t).Routes {
		if port := r.Upstream[strings.LastIndex(r.Upstream, ":")+1:]; !slices.Contains(services.GetRules()[0].GetTo()[0].GetOperation().GetPorts(), port) {
			t.Errorf("the edge calls %s, and no rule takes that", r.Upstream)
		}
	}
	if !bytes.Contains(read(t, "kubernetes/network.yaml"), []byte("istio-system")) {
		t.Error("the sidecar of the edge gets no certificate")
	}
}
