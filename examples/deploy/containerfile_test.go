package deploy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	repository = "../.."
	inImage    = "/usr/local/bin/onbehalf"
)

// instruction is one of a Containerfile, and the stage that it is in.
type instruction struct {
	stage      int
	name, args string
}

func containerfile() ([]instruction, error) {
	data, err := os.ReadFile("Containerfile")
	if err != nil {
		return nil, err
	}
	comment := regexp.MustCompile(`(?m)^#.*\n`)
	text := strings.ReplaceAll(comment.ReplaceAllString(string(data), ""), "\\\n", " ")
	var list []instruction
	stage := -1
	for line := range strings.Lines(text) {
		name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		if name == "FROM" {
			stage++
		}
		list = append(list, instruction{stage, name, strings.TrimSpace(args)})
	}
	return list, nil
}

// buildImage does what the first stage does, in dir: no container is needed for
// that, as it only copies and runs Go. It returns the program.
//
// CGO_ENABLED stays as it is here. What it changes in the program is which
// resolver it has, and all that it imports would be compiled once more.
func buildImage(dir string) (string, error) {
	list, err := containerfile()
	if err != nil {
		return "", err
	}
	src, out := filepath.Join(dir, "src"), filepath.Join(dir, "out")
	for _, i := range list {
		switch {
		case i.stage != 0:
		case i.name == "COPY":
			err = copyInto(src, strings.Fields(i.args))
		case i.name == "RUN":
			mount := regexp.MustCompile(`--mount=\S+`)
			script := strings.ReplaceAll(mount.ReplaceAllString(i.args, ""), "/out", out)
			cmd := exec.Command("sh", "-ec", script)
			cmd.Dir, cmd.Env = src, append(os.Environ(), "GOWORK=", "GOFLAGS=")
			var said []byte
			if said, err = cmd.CombinedOutput(); err != nil {
				err = fmt.Errorf("RUN %s: %w\n%s", script, err, said)
			}
		}
		if err != nil {
			return "", err
		}
	}
	return filepath.Join(out, "onbehalf"), nil
}

// copyInto does what COPY does in a build whose context is the repository.
func copyInto(src string, args []string) error {
	from, to := args[:len(args)-1], filepath.Join(src, args[len(args)-1])
	for _, f := range from {
		f = filepath.Join(repository, f)
		info, err := os.Stat(f)
		if err != nil {
			return fmt.Errorf("COPY: %w", err)
		}
		if info.IsDir() {
			if err := os.CopyFS(to, os.DirFS(f)); err != nil {
				return fmt.Errorf("COPY: %w", err)
			}
			continue
		}
		data, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("COPY: %w", err)
		}
		if err := os.MkdirAll(to, 0o700); err != nil {
			return fmt.Errorf("COPY: %w", err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(f)), data, 0o600); err != nil {
			return fmt.Errorf("COPY: %w", err)
		}
	}
	return nil
}

// The image starts what was built, as a user that is not root, and asks it for
// its health with a command that there is.
func TestImage(t *testing.T) {
	t.Parallel()
	if code, out := edge(t, "version"); code != 0 || !strings.HasPrefix(out, "onbehalf ") {
		t.Fatalf("got %d %s", code, out)
	}
	list, err := containerfile()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, i := range list {
		switch {
		case i.name == "FROM" && !regexp.MustCompile(`^[a-z0-9.]+/[a-z0-9/-]+:[a-z0-9.-]+( AS [a-z]+)?$`).MatchString(i.args):
			t.Errorf("FROM %s has no registry or no tag", i.args)
		case i.stage == 1:
			got[i.name] += i.args + "\n"
		}
	}
	if !strings.Contains(got["COPY"], "--from=build /out/onbehalf "+inImage+"\n") {
		t.Errorf("the program is not copied: %s", got["COPY"])
	}
	if got["USER"] != "65532:65532\n" || !strings.Contains(got["COPY"], "--chown=65532:65532 /out/data "+strings.TrimSpace(got["VOLUME"])) {
		t.Errorf("got the user %q, who does not own the volume %q", got["USER"], got["VOLUME"])
	}
	if entry := words(t, got["ENTRYPOINT"]); len(entry) != 1 || entry[0] != inImage {
		t.Errorf("got the entry point %q", entry)
	}
	understood(t, append([]string{inImage}, words(t, got["CMD"])...))
	_, health, _ := strings.Cut(got["HEALTHCHECK"], "CMD ")
	understood(t, words(t, health))
}

func words(t *testing.T, list string) (all []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(list), &all); err != nil {
		t.Fatalf("%q: %v", list, err)
	}
	return all
}

// understood checks that a command line of the image is one that the edge knows.
func understood(t *testing.T, command []string) {
	t.Helper()
	if len(command) < 2 || command[0] != inImage {
		t.Errorf("%q does not run %s", command, inImage)
		return
	}
	if command[1] == "serve" {
		if code, out := edge(t, "serve", "--config", filepath.Join(t.TempDir(), "none.yaml")); code != 1 || len(command) != 4 || command[2] != "--config" {
			t.Errorf("%q: got %d %s", command, code, out)
		}
		return
	}
	if code, out := edge(t, command[1:]...); code == 2 {
		t.Errorf("%q: %s", command, out)
	}
}
