package docs_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	commandTakes = 60 * time.Second
	awaits       = 20 * time.Second
	marker       = "\x1e that was it:"
)

// session is a shell in a directory of its own.
type session struct {
	t         *testing.T
	dir       string
	addresses map[string]string // as written in the page to as they are
	stdin     io.Writer
	lines     chan string
}

// start starts a shell with the programs of the world in its PATH.
func start(t *testing.T, w *world) *session {
	t.Helper()
	s := &session{t: t, dir: t.TempDir(), addresses: make(map[string]string), lines: make(chan string, 1024)}
	command := exec.Command("bash", "--norc", "--noprofile")
	command.Dir = s.dir
	command.Env = append(os.Environ(), "PATH="+w.bin+":"+os.Getenv("PATH"), "TOKEN="+w.token(t), "GOWORK=off", "GOFLAGS=", "ROOT="+w.root)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = writer, writer
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	s.stdin = stdin
	go func() {
		defer close(s.lines)
		scanner := bufio.NewScanner(output)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			s.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGTERM)
		stdin.Close()
		_ = command.Wait()
		ended := time.AfterFunc(10*time.Second, func() { _ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL) })
		for range s.lines { // they end with the last program that holds them
		}
		ended.Stop()
		output.Close()
	})
	return s
}

// run runs a command and returns what it printed, on both outputs, and its exit
// status.
func (s *session) run(command string) (printed string, status int, err error) {
	if _, err := fmt.Fprintf(s.stdin, "%s\nprintf '\\n%s%%d\\n' $?\n", strings.TrimSuffix(command, "\n"), marker); err != nil {
		return "", 0, fmt.Errorf("the shell has ended: %w", err)
	}
	late := time.After(commandTakes)
	for {
		select {
		case line, ok := <-s.lines:
			if !ok {
				return printed, 0, errors.New("the shell has ended")
			}
			if rest, found := strings.CutPrefix(line, marker); found {
				status, err := strconv.Atoi(rest)
				return strings.TrimSuffix(printed, "\n"), status, err
			}
			printed += line + "\n"
		case <-late:
			return printed, 0, fmt.Errorf("still running after %v", commandTakes)
		}
	}
}

// addresses in pages: those of the loopback interface, and those of a platform.
var address = regexp.MustCompile(`\b(127\.0\.0\.1|[a-z]+\.internal):[0-9]{4}\b`)

// local puts free addresses of this machine into a text.
func (s *session) local(text, provider string) string {
	text = strings.ReplaceAll(text, "https://login.example", provider)
	text = strings.ReplaceAll(text, "/path/to/clone", "$ROOT")
	return address.ReplaceAllStringFunc(text, s.free)
}

func (s *session) free(written string) string {
	if _, ok := s.addresses[written]; !ok {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		defer l.Close()
		s.addresses[written] = l.Addr().String()
	}
	return s.addresses[written]
}

// write writes a file of the page. An edge without addresses gets free ones.
func (s *session) write(name, text string) error {
	if name == "onbehalf.yaml" && !strings.Contains(text, "\nlisten:") {
		text += fmt.Sprintf("listen: {public: %q, mesh: %q, admin: %q}\n",
			s.free("127.0.0.1:8080"), s.free("127.0.0.1:9443"), s.free("127.0.0.1:9444"))
	}
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	next := path + ".next" // so that an edge does not see half of it
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}

var listens = regexp.MustCompile(`\bLISTEN=(\S+)`)

// started waits for what a command has started in the background.
func (s *session) started(command string) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), awaits)
	defer cancel()
	if strings.Contains(command, "onbehalf serve") {
		return await(ctx, func() error {
			r, err := http.Get("http://" + s.free("127.0.0.1:9444") + "/readyz")
			if err != nil {
				return err
			}
			defer r.Body.Close()
			if r.StatusCode != http.StatusOK {
				return errors.New(r.Status)
			}
			return nil
		})
	}
	found := listens.FindStringSubmatch(command)
	if found == nil {
		return nil
	}
	return await(ctx, func() error {
		conn, err := net.Dial("tcp", found[1])
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// await tries until there is no error, or ctx ends.
func await(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}
