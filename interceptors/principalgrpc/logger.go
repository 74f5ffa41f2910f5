package principalgrpc

import (
	"fmt"
	"sort"
	"strings"

	"google.golang.org/grpc/grpclog"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// NewLogger returns a logger for grpc-go that writes to next, except for what
// a message says of our header. A server of grpc-go answers a header that is
// not base64 (two values that a proxy joined with a comma, for instance) before
// any interceptor runs, and logs it in full as a warning: whoever reads the log
// could present the principal again.
//
// grpc-go's default logger writes only errors, and is not affected unless
// GRPC_GO_LOG_SEVERITY_LEVEL says otherwise. Install it in main, before
// anything else of grpc-go runs; this package does not, because the logger
// belongs to the whole program:
//
//	grpclog.SetLoggerV2(principalgrpc.NewLogger(grpclog.NewLoggerV2(io.Discard, os.Stderr, os.Stderr)))
func NewLogger(next grpclog.LoggerV2) grpclog.LoggerV2 { return &logger{LoggerV2: next} }

type logger struct{ grpclog.LoggerV2 }

func (l *logger) Info(args ...any)   { l.LoggerV2.Info(redact(fmt.Sprint(args...))) }
func (l *logger) Infoln(args ...any) { l.LoggerV2.Info(redact(sprintln(args))) }
func (l *logger) Infof(format string, args ...any) {
	l.LoggerV2.Info(redact(fmt.Sprintf(format, args...)))
}
func (l *logger) Warning(args ...any)   { l.LoggerV2.Warning(redact(fmt.Sprint(args...))) }
func (l *logger) Warningln(args ...any) { l.LoggerV2.Warning(redact(sprintln(args))) }
func (l *logger) Warningf(format string, args ...any) {
	l.LoggerV2.Warning(redact(fmt.Sprintf(format, args...)))
}
func (l *logger) Error(args ...any)   { l.LoggerV2.Error(redact(fmt.Sprint(args...))) }
func (l *logger) Errorln(args ...any) { l.LoggerV2.Error(redact(sprintln(args))) }
func (l *logger) Errorf(format string, args ...any) {
	l.LoggerV2.Error(redact(fmt.Sprintf(format, args...)))
}
func (l *logger) Fatal(args ...any)   { l.LoggerV2.Fatal(redact(fmt.Sprint(args...))) }
func (l *logger) Fatalln(args ...any) { l.LoggerV2.Fatal(redact(sprintln(args))) }
func (l *logger) Fatalf(format string, args ...any) {
	l.LoggerV2.Fatal(redact(fmt.Sprintf(format, args...)))
}

func sprintln(args []any) string { return strings.TrimSuffix(fmt.Sprintln(args...), "\n") }

// redact cuts a message that names our header, in any spelling, before its
// first quotation or the name, whichever comes first: grpc-go quotes the value,
// in one message behind the name and in another before it.
func redact(message string) string {
	if !principal.IsAlias(message) {
		return message
	}
	end := sort.Search(len(message), func(n int) bool { return principal.IsAlias(message[:n]) })
	end = 1 + strings.LastIndexByte(message[:end], ' ')
	if quote := strings.IndexByte(message, '"'); quote >= 0 {
		end = min(end, quote)
	}
	return message[:end] + "[withheld: it quotes " + principal.HeaderName + "]"
}
