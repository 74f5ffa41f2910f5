package deploy_test

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/onbehalf-dev/onbehalf/bff"
)

// kubelet does to a volume what it does before a pod with an fsGroup starts: the
// group gets what the owner has, everywhere, unless the policy says to look at
// the topmost directory only, and that has it already.
func kubelet(t *testing.T, volume string, policy corev1.PodFSGroupChangePolicy) {
	t.Helper()
	const all = fs.ModeSetgid | 0o770
	info, err := os.Stat(volume)
	if err != nil {
		t.Fatal(err)
	}
	if policy == corev1.FSGroupChangeOnRootMismatch && info.Mode()&all == all {
		return
	}
	err = filepath.WalkDir(volume, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode() | 0o660
		if entry.IsDir() {
			mode |= all
		}
		return os.Chmod(name, mode)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The keys that an edge makes in a volume are accepted when it starts again, with
// the policy of the StatefulSet; with the default of Kubernetes they are not.
func TestKeysInAVolume(t *testing.T) {
	t.Parallel()
	shipped := *load(t).sets[0].Spec.Template.Spec.SecurityContext.FSGroupChangePolicy
	for _, test := range []struct {
		policy corev1.PodFSGroupChangePolicy
		starts bool
	}{
		{shipped, true},
		{corev1.FSGroupChangeAlways, false},
	} {
		t.Run(string(test.policy), func(t *testing.T) {
			t.Parallel()
			volume := t.TempDir()
			cfg := &bff.Config{
				Version: 1, Issuer: "https://edge.test", DataDir: filepath.Join(volume, "edge"),
				Audit:  bff.Audit{File: filepath.Join(t.TempDir(), "audit.jsonl")},
				Routes: []bff.Route{{PathPrefix: "/", Upstream: "http://127.0.0.1:1", Auth: bff.AuthNone}},
			}
			for start := range 2 {
				kubelet(t, volume, test.policy)
				server, err := bff.New(cfg, bff.WithLogger(slog.New(slog.DiscardHandler)))
				if started := err == nil; started != (test.starts || start == 0) {
					t.Fatalf("start %d: got %v", start+1, err)
				}
				if err != nil {
					return
				}
				if err := server.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
