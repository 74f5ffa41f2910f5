package deploy_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff"
)

// unit returns the settings of a unit file, as SECTION.NAME; later ones are added.
func unit(t *testing.T, name string) map[string][]string {
	t.Helper()
	settings := make(map[string][]string)
	section := ""
	for line := range strings.Lines(string(read(t, name))) {
		line = strings.TrimSpace(line)
		switch key, value, ok := strings.Cut(line, "="); {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		case !ok:
			t.Errorf("%s: %q is no setting", name, line)
		default:
			settings[section+"."+key] = append(settings[section+"."+key], value)
		}
	}
	return settings
}

func only(t *testing.T, settings map[string][]string, key string) string {
	t.Helper()
	if len(settings[key]) != 1 {
		t.Fatalf("got %q for %s", settings[key], key)
	}
	return settings[key][0]
}

func TestUnit(t *testing.T) {
	t.Parallel()
	cfg, err := bff.LoadConfig("systemd/onbehalf.yaml")
	if err != nil {
		t.Fatal(err)
	}
	settings := unit(t, "systemd/onbehalf.service")
	stop, err := time.ParseDuration(only(t, settings, "Service.TimeoutStopSec"))
	if drain := cfg.Limits.DrainDelay + cfg.Limits.Drain; err != nil || stop < drain+10*time.Second {
		t.Errorf("TimeoutStopSec is %v, which ends an edge that may take %v to drain", stop, drain)
	}
	understood(t, strings.Fields(only(t, settings, "Service.ExecStart")))
	if state := "/var/lib/" + only(t, settings, "Service.StateDirectory"); filepath.Dir(cfg.DataDir) != state {
		t.Errorf("data_dir is %s, which is not below %s", cfg.DataDir, state)
	}
	if mode := only(t, settings, "Service.StateDirectoryMode"); mode != "0700" {
		t.Errorf("others can look into the state: %s", mode)
	}
	if restart := only(t, settings, "Service.Restart"); restart != "on-failure" {
		t.Errorf("got Restart=%s", restart)
	}
}

// systemd itself reads the unit, with the drop-in and without, where it is
// installed.
func TestUnitIsTakenBySystemd(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd is not installed here")
	}
	for _, dropIn := range []bool{false, true} {
		dir := t.TempDir()
		text := bytes.ReplaceAll(read(t, "systemd/onbehalf.service"), []byte(inImage), []byte(binary))
		name := write(t, filepath.Join(dir, "onbehalf.service"), text, 0o644)
		if dropIn {
			write(t, filepath.Join(dir, "onbehalf.service.d", "signing-key.conf"), read(t, "systemd/signing-key.conf"), 0o644)
		}
		if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", name).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("with drop-in %v: %v\n%s", dropIn, err, out)
		}
	}
}
