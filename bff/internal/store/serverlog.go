package store

import (
	"fmt"
	"log/slog"
	"strings"
)

// serverLog takes the lines of the embedded server.
type serverLog struct {
	logger *slog.Logger
	failed func() // the server can no longer write
}

func (l serverLog) line(format string, args []any) slog.Attr {
	return slog.String("line", strings.TrimSpace(fmt.Sprintf(format, args...)))
}

// Noticef is of no interest while all goes well.
func (l serverLog) Noticef(format string, args ...any) {
	l.logger.Debug("store: server", l.line(format, args))
}

func (l serverLog) Warnf(format string, args ...any) {
	l.logger.Warn("store: server", l.line(format, args))
}

// Errorf also notices that the server has given its bucket up: it does not tell
// whoever waits for an answer.
func (l serverLog) Errorf(format string, args ...any) {
	line := l.line(format, args)
	l.logger.Error("store: server", line)
	if text := line.Value.String(); strings.Contains(text, "write error") || strings.Contains(text, "out of resources") {
		l.failed()
	}
}

func (l serverLog) Fatalf(format string, args ...any) {
	l.failed()
	l.logger.Error("store: server", l.line(format, args))
}

func (serverLog) Debugf(string, ...any) {}

func (serverLog) Tracef(string, ...any) {}
