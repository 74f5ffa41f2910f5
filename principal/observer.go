package principal

import (
	"context"
	"log/slog"

	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

// Decision is what became of a call.
type Decision uint8

// The decisions.
const (
	Allowed Decision = iota + 1
	Refused
	// WouldRefuse is a call that was let in only because its method is observed.
	WouldRefuse
	// Ended is a call that was let in, and ended before its handler was done. It
	// is told when the handler has returned.
	Ended
)

// String returns "allowed", "refused", "would_refuse" or "ended".
func (d Decision) String() string {
	switch d {
	case Allowed:
		return "allowed"
	case Refused:
		return "refused"
	case WouldRefuse:
		return "would_refuse"
	case Ended:
		return "ended"
	default:
		return "none"
	}
}

// Event is one decision. It holds no header, token or key.
type Event struct {
	Decision Decision
	// Reason is 0 for an allowed call.
	Reason Reason
	// Detail, if any, says more about the reason, for a local log.
	Detail error
	// Service is the audience that decided.
	Service string
	// Procedure is the method or ServeMux pattern, at most 256 bytes. If it has
	// no rule it may be what the caller made up: do not label metrics with it.
	Procedure string
	// Principal is nil for anonymous calls and for headers that did not verify.
	Principal *Principal
	// Peer is the mTLS peer's service name, where the binding is mTLS.
	Peer string
	// Address, UserAgent and Certificate say where a call came from that was not
	// allowed and has no principal: the peer's address without its port; the first
	// product of its user agent, such as "grpc-go/1.82.1", which it may make up; and
	// the one URI name, such as a SPIFFE ID, of its verified client certificate. They
	// are "" for other calls, and where they are not known.
	Address, UserAgent, Certificate string
	// RequestID and TraceID correlate records; "" if absent or not well formed.
	RequestID, TraceID string
	// Renewal says that the call was to renew the lease of a stream; no handler
	// runs for it.
	Renewal bool

	rule *rule
}

// Rule returns the method's access rule, or nil if it has none.
func (e *Event) Rule() *principalv1.AccessRule {
	if e.rule == nil {
		return nil
	}
	return proto.CloneOf(e.rule.source)
}

// Observer is told of every decision, after it was taken and before the handler
// runs, and of a call that is ended once more. It must not block, and is used concurrently. A panic in it is stopped
// and changes nothing.
type Observer interface {
	Observe(ctx context.Context, event *Event)
}

func (g *Guard) report(ctx context.Context, event *Event) {
	for _, o := range g.observers {
		own := *event // one observer cannot change what the next one is told
		func() {
			defer func() { _ = recover() }()
			o.Observe(ctx, &own)
		}()
	}
}

// LogObserver writes one line for each decision.
type LogObserver struct{ logger *slog.Logger }

// NewLogObserver returns an observer that writes one line for each decision:
// who, on behalf of whom, through whom, with which rights, to which method, by
// which rule, and what was decided. Allowed calls are Info, others Warn. The
// command "onbehalf report" reads what the handlers of slog make of them.
func NewLogObserver(logger *slog.Logger) *LogObserver { return &LogObserver{logger} }

// Observe implements [Observer].
func (o *LogObserver) Observe(ctx context.Context, e *Event) {
	level := slog.LevelInfo
	if e.Decision != Allowed {
		level = slog.LevelWarn
	}
	if !o.logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("service", e.Service), slog.String("method", e.Procedure),
		slog.String("decision", e.Decision.String()), slog.Any("principal", e.Principal))
	if e.Reason != 0 {
		attrs = append(attrs, slog.String("reason", e.Reason.String()))
	}
	if e.Detail != nil {
		attrs = append(attrs, slog.String("detail", clip(e.Detail.Error())))
	}
	if e.Renewal {
		attrs = append(attrs, slog.Bool("renewal", true))
	}
	if e.rule != nil {
		attrs = append(attrs, slog.String("rule", e.rule.text))
	}
	for _, a := range []slog.Attr{
		slog.String("peer", e.Peer), slog.String("certificate", e.Certificate), slog.String("address", e.Address), slog.String("user_agent", e.UserAgent),
		slog.String("request_id", e.RequestID), slog.String("trace_id", e.TraceID),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	o.logger.LogAttrs(ctx, level, "principal", attrs...)
}

// clip bounds what a caller can put into a record.
func clip(s string) string {
	const most = 256
	if len(s) > most {
		return s[:most]
	}
	return s
}

// correlationID returns s if it is 1 to 64 characters of [A-Za-z0-9_.-], else "".
func correlationID(s string) string {
	if len(s) > 64 {
		return ""
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return ""
		}
	}
	return s
}
