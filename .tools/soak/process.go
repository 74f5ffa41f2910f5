package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child of this program that is told what to do by HTTP.
type process struct {
	cmd  *exec.Cmd
	line string // what it said when it was ready: where to call it, and more
	base string
}

func startProcess(ctx context.Context, role string, args ...string) (*process, error) {
	return startWith(ctx, io.Discard, role, args...)
}

// startWith has out get what the process writes beside the line with which it is
// ready.
func startWith(ctx context.Context, out io.Writer, role string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self, append([]string{"child", role}, args...)...)}
	p.cmd.Stderr = os.Stderr
	// What a terminal sends is for this process alone, which then ends the others.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	written, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	r := bufio.NewReader(written)
	for !strings.HasPrefix(p.line, "http") {
		if p.line, err = r.ReadString('\n'); err != nil {
			p.stop()
			return nil, fmt.Errorf("%s did not start: %w", role, err)
		}
	}
	p.line = strings.TrimSpace(p.line)
	p.base, _, _ = strings.Cut(p.line, " ")
	go func() { _, _ = io.Copy(out, r) }()
	return p, nil
}

func (p *process) stop() {
	if p == nil || p.cmd.Process == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// end has the process end by itself, and waits for that.
func (p *process) end(within time.Duration) error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.AfterFunc(within, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	return p.cmd.Wait()
}

func (p *process) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+"/"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := new(http.Client).Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("%s: %s", path, strings.TrimSpace(string(text)))
	}
	return json.NewDecoder(res.Body).Decode(out)
}

// rss returns the resident memory of the process after it has collected its
// garbage, in bytes.
func (p *process) rss(ctx context.Context) (int64, error) {
	if err := p.call(ctx, "collect", nil, &struct{}{}); err != nil {
		return 0, err
	}
	return residentOf(p.cmd.Process.Pid)
}

func residentOf(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(data))
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

func child(role string, args []string) error {
	switch {
	case role == "edge" && len(args) == 2:
		return edgeMain(args[0], args[1])
	case role == "loaded" && len(args) == 1:
		return loadedMain(args[0])
	case role == "instance" && len(args) == 4:
		return instanceMain(args[0], args[1], args[2], args[3])
	case role == "services" && len(args) == 3:
		return servicesMain(args[0], args[1], args[2])
	case role == "reverse" && len(args) == 2:
		return reverseMain(args[0], args[1])
	case role == "gateway" && len(args) == 6:
		issuers, err := strconv.Atoi(args[4])
		if err != nil {
			return err
		}
		routes, err := strconv.Atoi(args[5])
		if err != nil {
			return err
		}
		return gatewayMain(args[0], args[1], args[2], args[3], issuers, routes)
	default:
		return fmt.Errorf("no such child: %s %v", role, args)
	}
}

// control serves what the parent calls.
type control struct{ mux *http.ServeMux }

func newControl() *control { return &control{http.NewServeMux()} }

func (c *control) on(path string, f func(r *http.Request) (any, error)) {
	c.mux.HandleFunc("POST /"+path, func(w http.ResponseWriter, r *http.Request) {
		out, err := f(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	})
}

// serve says where it is called, and more, and serves for as long as it may.
func (c *control) serve(more ...string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(append([]string{"http://" + l.Addr().String()}, more...), " "))
	srv := &http.Server{Handler: c.mux, ReadHeaderTimeout: time.Minute}
	return srv.Serve(l)
}
