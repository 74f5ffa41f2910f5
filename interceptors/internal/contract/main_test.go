package contract_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/grpclog"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// sink is where everything that can log in the tests logs to.
type sink struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

var logs sink

// logObserver writes to it too.
var logObserver = principal.NewLogObserver(slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))

// planted holds pieces of every header that a test has sent.
var planted sync.Map

const piece = 16

// plant registers a header's text. A log that holds 31 characters of it in a
// row holds one of these pieces.
func plant(text string) {
	for ; len(text) >= piece; text = text[piece:] {
		planted.LoadOrStore(text[:piece], true)
	}
}

// text is a header as it travels; every test makes its headers with it.
func text(header string) string {
	t := principal.EncodeHeader(header)
	plant(t)
	return t
}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	grpclog.SetLoggerV2(principalgrpc.NewLogger(grpclog.NewLoggerV2(&logs, &logs, &logs)))
	if err := registerProto(); err != nil {
		panic(err)
	}
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

// sweep is case Z01: after all the others, no log holds a piece of a header.
func sweep() error {
	written := logs.String()
	if strings.Contains(written, canary) {
		return fmt.Errorf("Z01: a log holds what only the payload of a header holds: %q", around(written, strings.Index(written, canary)))
	}
	for i := 0; i+piece <= len(written); i++ {
		if _, leaked := planted.Load(written[i : i+piece]); leaked {
			return fmt.Errorf("Z01: a log holds a piece of a header: %q", around(written, i))
		}
	}
	return nil
}

func around(s string, i int) string { return s[max(0, i-150):min(len(s), i+100)] }

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
