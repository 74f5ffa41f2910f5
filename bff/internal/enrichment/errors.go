package enrichment

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
)

// warnEvery is how often a source that fails says so in the log.
const warnEvery = 10 * time.Second

// Error says why nothing could be added. Its text is the edge's own: nothing
// of what an enricher answers is repeated.
type Error struct {
	text  string
	cause error
}

func (f *Error) Error() string { return "enrichment: " + f.text }

// Unwrap returns what the failure comes from.
func (f *Error) Unwrap() error { return f.cause }

// statusError is an answer other than 200, redirects among them.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("status %d, not 200", int(e)) }

// Describe says what went wrong in words of the edge. An error that is not known
// here may hold anything, and is named by its type.
func Describe(err error) string {
	if p, ok := errors.AsType[*FieldError](err); ok {
		return p.Error()
	}
	if status, ok := errors.AsType[statusError](err); ok {
		return status.Error()
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errTooLong.Error()
	}
	if isTimeout(err) {
		return "no answer in time"
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return "no connection"
	}
	for _, known := range []error{errBusy, errPanicked, errNothing, errTooLong, errFormat} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return "the call ended with " + e.Code().String()
	}
	return fmt.Sprintf("the enricher failed (%T)", err)
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) || connect.CodeOf(err) == connect.CodeDeadlineExceeded
}

// warn logs a failure unless another one was logged just before; the next line
// says how many were not.
func (s *Source) warn(ctx context.Context, text string, f *Error, attrs ...slog.Attr) {
	if skipped, ok := s.warned.pass(); ok {
		attrs = append(attrs, slog.String("reason", f.text), slog.Int("not_shown", skipped))
		s.Logger.LogAttrs(ctx, slog.LevelWarn, text, attrs...) //nolint:sloglint // one of two texts
	}
}

// limiter lets one through every warnEvery.
type limiter struct {
	now func() time.Time

	mu      sync.Mutex
	last    time.Time
	skipped int
}

func (l *limiter) pass() (skipped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if within(l.last, now, warnEvery) {
		l.skipped++
		return 0, false
	}
	skipped = l.skipped
	l.last, l.skipped = now, 0
	return skipped, true
}
