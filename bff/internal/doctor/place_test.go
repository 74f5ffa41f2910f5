package doctor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/doctor"
)

// configure writes a configuration to which lines are added.
func configure(t *testing.T, dir, lines string) string {
	t.Helper()
	path := filepath.Join(dir, "onbehalf.yaml")
	text := "version: 1\nissuer: https://edge.test\nroutes: [{path_prefix: /, upstream: 'http://" + closed(t) + "', auth: none}]\n" + lines
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConfiguration(t *testing.T) {
	t.Parallel()
	absent := filepath.Join(t.TempDir(), "onbehalf.yaml")
	want(t, run(t, doctor.Options{Path: absent}), "config", doctor.Problem, "no such file")
	want(t, run(t, doctor.Options{Path: absent, MustNotReach: []string{closed(t)}}), "config", doctor.Unknown, "only what the command line names")
	want(t, run(t, doctor.Options{Path: configure(t, t.TempDir(), "colour: red\n")}), "config", doctor.Problem, ":4: colour")
}

func TestDataDir(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		mode   os.FileMode
		status doctor.Status
		text   string
	}{
		{0, doctor.OK, "is made at the first start"},
		{0o700, doctor.OK, "for this user alone"},
		{0o750, doctor.Warning, "chmod 700"},
		{0o777, doctor.Problem, "chmod 700"},
	} {
		t.Run(test.mode.String(), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if test.mode != 0 {
				if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(filepath.Join(dir, "data"), test.mode); err != nil {
					t.Fatal(err)
				}
			}
			want(t, run(t, doctor.Options{Path: configure(t, dir, "")}), "data_dir", test.status, test.text)
		})
	}
}

// What the edge would refuse to start with is seen before.
func TestDataDirWithAKeyThatOthersCanRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "data", "admin.token")
	if err := os.WriteFile(token, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(token, 0o660); err != nil {
		t.Fatal(err)
	}
	want(t, run(t, doctor.Options{Path: configure(t, dir, "")}), "config", doctor.Problem, "lets others than its owner in")
}

func TestListeners(t *testing.T) {
	t.Parallel()
	found := run(t, doctor.Options{Path: configure(t, t.TempDir(), "listen: {public: ':8080', mesh: ':9443', admin: ':9444'}\n")})
	want(t, found, "listen.public", doctor.Warning, "no TLS")
	want(t, found, "listen.mesh", doctor.Problem, "set mesh_tls")
	want(t, found, "listen.admin", doctor.Warning, "127.0.0.1")
	want(t, found, "store", doctor.OK, "data_dir")

	a := newAuthority(t)
	a.leaf("edge", time.Hour)
	lines := fmt.Sprintf("listen: {public: ':8443', mesh: ':9443'}\n"+
		"tls: {cert: %[1]s.pem, key: %[1]s.key}\nmesh_tls: {cert: %[1]s.pem, key: %[1]s.key}\n", a.file("edge"))
	found = run(t, doctor.Options{Path: configure(t, t.TempDir(), lines)})
	want(t, found, "listen.public", doctor.OK, "has TLS")
	want(t, found, "listen.mesh", doctor.OK, "enrol with tokens")
	want(t, found, "tls", doctor.OK, "is good until")
	later := run(t, doctor.Options{Path: configure(t, t.TempDir(), lines), Now: func() time.Time { return time.Now().Add(time.Hour - time.Minute) }})
	want(t, later, "tls", doctor.Warning, "renew it")
	after := run(t, doctor.Options{Path: configure(t, t.TempDir(), lines), Now: func() time.Time { return time.Now().Add(2 * time.Hour) }})
	want(t, after, "mesh_tls", doctor.Problem, "ended at")
}

func TestClock(t *testing.T) {
	t.Parallel()
	found := run(t, doctor.Options{Now: func() time.Time { return time.Unix(0, 0) }})
	want(t, found, "clock", doctor.Problem, "1970-01-01")
	if f := run(t, doctor.Options{})["clock"]; len(f) != 1 || f[0].Status == doctor.Problem {
		t.Errorf("got %v for the clock of this machine", f)
	}
}

func TestStoreThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	up, down := plain(t, false), closed(t)
	store := func(urls string) map[string][]doctor.Finding {
		return run(t, doctor.Options{Path: configure(t, t.TempDir(), "store: {url: '"+urls+"'}\n")})
	}
	want(t, store("nats://"+up), "store", doctor.OK, "1 of 1")
	want(t, store("nats://"+up+", nats://"+down), "store", doctor.Warning, "one server short")
	want(t, store("nats://"+down), "store", doctor.Problem, "connection refused")
}

func TestPod(t *testing.T) {
	t.Parallel()
	account := t.TempDir()
	pod := doctor.Options{
		ServiceAccount: account, Sidecar: []string{plain(t, false)},
		Getenv: func(name string) string { return map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}[name] },
	}
	found := run(t, pod)
	want(t, found, "kubernetes", doctor.OK, "without a token")
	want(t, found, "istio", doctor.OK, "a sidecar is in this pod")
	want(t, found, "network", doctor.Unknown, "--must-not-reach")
	if err := os.WriteFile(filepath.Join(account, "token"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	pod.Sidecar = []string{closed(t)}
	found = run(t, pod)
	want(t, found, "kubernetes", doctor.Warning, "automountServiceAccountToken")
	want(t, found, "istio", doctor.OK, "no sidecar")
	want(t, run(t, doctor.Options{}), "kubernetes", doctor.OK, "not a pod")
}

func TestMustNotReach(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		address string
		status  doctor.Status
		text    string
	}{
		{plain(t, false), doctor.Problem, "can be reached"},
		{closed(t), doctor.Unknown, "try while it runs"},
		{"127.0.0.1", doctor.Problem, "write a host and a port"},
		{"no.invalid:80", doctor.Unknown, "no address here"},
	} {
		found := run(t, doctor.Options{MustNotReach: []string{test.address}, Within: 300 * time.Millisecond})
		want(t, found, "must not reach", test.status, test.text)
	}
}
