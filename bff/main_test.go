package bff_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/grpclog"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
)

// logs is where everything logs to that has no other log, and what is written
// into the log and the records of each edge.
var logs buffer

// planted holds pieces of the credentials, principals and keys of all tests.
var planted sync.Map

const piece = 16

// plant registers a secret. A text that holds 31 characters of it in a row holds
// one of these pieces.
func plant(secrets ...string) {
	for _, secret := range secrets {
		for ; len(secret) >= piece; secret = secret[piece:] {
			planted.LoadOrStore(secret[:piece], true)
		}
	}
}

// plantToken leaves out the header, which says nothing.
func plantToken(token string) {
	_, rest, _ := strings.Cut(token, ".")
	plant(rest)
}

// plantKey registers a private key in the forms in which it could be printed.
func plantKey(der []byte) {
	list := fmt.Sprintf("%d", der)
	plant(base64.StdEncoding.EncodeToString(der), hex.EncodeToString(der), list[1:len(list)-1])
}

// plantFiles registers what an edge keeps to itself, and gathers what it recorded.
func (e *edge) plantFiles() {
	if records, err := os.ReadFile(filepath.Join(e.dir, "audit.jsonl")); err == nil {
		logs.Write(records)
	}
	files, _ := filepath.Glob(filepath.Join(e.dir, "data", "*"))
	for _, name := range files {
		data, err := os.ReadFile(name)
		switch {
		case err != nil:
		case strings.HasSuffix(name, ".pem"):
			for line := range bytes.Lines(data) {
				if len(line) > 3*piece && line[0] != '-' {
					plant(string(line[2*piece:])) // before that each key is alike
				}
			}
		case strings.HasSuffix(name, ".token"):
			plant(string(data))
		}
	}
}

// After all tests, nothing has been logged that must not be (Z01), and nothing
// that they started goes on.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	grpclog.SetLoggerV2(principalgrpc.NewLogger(grpclog.NewLoggerV2(&logs, &logs, &logs)))
	before := runtime.NumGoroutine()
	code := m.Run()
	for _, check := range []func() error{sweep, func() error { return settle(before) }} {
		if err := check(); err != nil {
			fmt.Fprintln(os.Stderr, "FAIL:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func sweep() error {
	written := logs.String()
	around := func(i int) string { return written[max(0, i-150):i] }
	if i := strings.Index(written, "canary-"); i >= 0 {
		return fmt.Errorf("Z01: a canary was logged after %q", around(i))
	}
	for i := 0; i+piece <= len(written); i++ {
		if _, leaked := planted.Load(written[i : i+piece]); leaked {
			return fmt.Errorf("Z01: a piece of a credential or a key was logged after %q", around(i))
		}
	}
	return nil
}

// settle waits for what the tests have started to end.
func settle(baseline int) error {
	tick, late := time.NewTicker(5*time.Millisecond), time.After(5*time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if runtime.NumGoroutine() <= baseline {
				return nil
			}
		case <-late:
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			return fmt.Errorf("%d goroutines were left behind:\n%s", runtime.NumGoroutine()-baseline, &stacks)
		}
	}
}
