package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

// keyOf makes a private key, and returns what is in its file.
func keyOf(t *testing.T) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "signing.pem")
	if _, err := keyset.CreatePrivateKey(name); err != nil {
		t.Fatal(err)
	}
	return read(t, name)
}

// secret lays a file out as the kubelet does: the name is a link into a directory
// that is a link itself, so that all files change at once, and with fsGroup the
// group can read it.
func secret(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	write(t, filepath.Join(dir, "..2026_11_25_09_00_00.1", name), data, 0o440)
	for link, target := range map[string]string{"..data": "..2026_11_25_09_00_00.1", name: filepath.Join("..data", name)} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
}

// copies runs a command of one of the files here, with the directories of a test
// in place of those of a container or unit.
func copies(t *testing.T, command []string, places ...string) {
	t.Helper()
	for i, word := range command {
		command[i] = strings.NewReplacer(places...).Replace(word)
	}
	if out, err := exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", command, err, out)
	}
}

// A key that lies as Kubernetes mounts it is refused; the copy of the init
// container is accepted.
func TestSigningKeyFromASecret(t *testing.T) {
	t.Parallel()
	mounted, keys := t.TempDir(), t.TempDir()
	secret(t, mounted, "signing.pem", keyOf(t))
	if _, err := keyset.ReadPrivateKey(filepath.Join(mounted, "signing.pem")); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("got %v for the link", err)
	}
	if _, err := keyset.ReadPrivateKey(filepath.Join(mounted, "..data", "signing.pem")); err == nil || !strings.Contains(err.Error(), "0440") {
		t.Errorf("got %v for the file behind it", err)
	}
	set := patched(t)
	if len(set.Spec.Template.Spec.InitContainers) != 1 {
		t.Fatal("the patch adds no container before the edge")
	}
	copies(t, set.Spec.Template.Spec.InitContainers[0].Command, "/secret", mounted, "/keys", keys)
	if _, err := keyset.ReadPrivateKey(filepath.Join(keys, "signing.pem")); err != nil {
		t.Errorf("the copy is refused: %v", err)
	}
}

// A credential of systemd can have the mode 0440; the copy is accepted.
func TestSigningKeyFromACredential(t *testing.T) {
	t.Parallel()
	credentials, runtime := t.TempDir(), t.TempDir()
	name := write(t, filepath.Join(credentials, "signing.pem"), keyOf(t), 0o440)
	if _, err := keyset.ReadPrivateKey(name); err == nil {
		t.Error("the credential itself is accepted: nothing needs to be copied")
	}
	settings := unit(t, "systemd/signing-key.conf")
	command := strings.Fields(only(t, settings, "Service.ExecStartPre"))
	copies(t, command, "${CREDENTIALS_DIRECTORY}", credentials, "${RUNTIME_DIRECTORY}", runtime)
	if _, err := keyset.ReadPrivateKey(filepath.Join(runtime, "signing.pem")); err != nil {
		t.Errorf("the copy is refused: %v", err)
	}
}
