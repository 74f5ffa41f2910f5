package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff"
)

const configFile = "onbehalf.yaml"

// loadedMain is an edge that follows its configuration file when it is told to,
// and says what it holds. Its audit records go to the standard output.
func loadedMain(dir string) error {
	log, err := os.OpenFile(filepath.Join(dir, "edge.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	path := filepath.Join(dir, configFile)
	cfg, err := bff.LoadConfig(path)
	if err != nil {
		return err
	}
	listeners, err := newListeners()
	if err != nil {
		return err
	}
	edge, err := bff.New(cfg, bff.WithLogger(slog.New(slog.NewTextHandler(log, nil))), bff.WithListeners(listeners))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- edge.Run(ctx) }()
	c := newControl()
	c.on("figures", func(*http.Request) (any, error) { return ownFigures() })
	c.on("collect", func(*http.Request) (any, error) {
		debug.FreeOSMemory()
		return struct{}{}, nil
	})
	c.on("stacks", func(*http.Request) (any, error) {
		var text bytes.Buffer
		err := pprof.Lookup("goroutine").WriteTo(&text, 1)
		return text.String(), err
	})
	c.on("reload", func(*http.Request) (any, error) {
		next, err := bff.LoadConfig(path)
		if err != nil {
			return nil, err
		}
		return struct{}{}, edge.Reload(next)
	})
	c.on("stop", func(*http.Request) (any, error) {
		stop()
		return struct{}{}, <-ended
	})
	return c.serve(listeners.Public.Addr().String(), "http://"+listeners.Mesh.Addr().String(), listeners.Admin.Addr().String())
}

// figures are what a process holds.
type figures struct {
	At         time.Duration // since the load began
	RSS, Heap  int64         // bytes; Heap is what the last collection found in use
	Goroutines int64
	Files      int64
}

func ownFigures() (figures, error) {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return figures{}, err
	}
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	metrics.Read(s)
	f := figures{Heap: int64(s[0].Value.Uint64()), Goroutines: int64(s[1].Value.Uint64()), Files: int64(len(files) - 1)}
	f.RSS, err = residentOf(os.Getpid())
	return f, err
}

// loadedConfig is what edges of this kind are configured with. What a number that
// is not zero changes, a reload may.
func loadedConfig(provider string, at places, change int) string {
	routes := ""
	for _, r := range at.routes() {
		routes += r + "\n"
	}
	if change%2 == 1 {
		routes += fmt.Sprintf("  - {path_prefix: /extra, upstream: \"http://extra\", endpoints: %s, mode: relay}\n", at.endpoints("calm", plainPort))
	}
	return fmt.Sprintf(`version: 1
issuer: %s
trust_domain: %s
data_dir: data
limits: {failed_credentials: 1000000, principal_life: 2m, mint_window: %ds, body_bytes: %d}
issuers:
  - {issuer: %s/0, audience: [shop], subject: {as: name}, kinds: [{kind: human, when: {claim: sub, present: true}}]}
routes:
%s`, issuer, trustDomain, 30+change%7, (1+change%3)<<30, provider, routes)
}
