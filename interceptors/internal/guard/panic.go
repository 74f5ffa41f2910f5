package guard

import (
	"context"
	"log/slog"
	"runtime/debug"
)

// LogPanic leaves a trace of a handler's panic that an interceptor has stopped.
// It logs where, and never the value: that may be an error or a message that
// quotes what a caller sent.
func LogPanic(ctx context.Context, procedure string) {
	slog.LogAttrs(ctx, slog.LevelError, "principal: panic in handler", //nolint:sloglint // a panic must not vanish where nobody set up a logger
		slog.String("procedure", procedure),
		slog.String("stack", string(debug.Stack())))
}
