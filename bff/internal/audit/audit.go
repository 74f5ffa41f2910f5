// Package audit writes the record of each request at the edge: who, on behalf
// of whom, with which rights, asked for what, and what was decided and why.
//
// A record is one line of JSON. It never holds a credential, a header's value
// or a query; what a client could choose is cut to 256 bytes. Records that
// cannot be written are kept and written later, within a limit; [Log.Failing]
// says that there are some, for an edge that does not serve what it cannot
// record.
//
// Records are as safe as the file that they are in: they are not signed, and a
// line is in the hands of the operating system, not on the disk, when its request
// is answered.
package audit

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

// Reason says why a request was refused or did not end well. The list is closed.
type Reason string

// The reasons.
const (
	ReasonTarget      Reason = "target"      // the request's target has more than one reading
	ReasonRoute       Reason = "no_route"    // no route takes it
	ReasonMissing     Reason = "missing"     // no credential, and the route requires one
	ReasonCredential  Reason = "credential"  // the credential was refused; see credential_reason
	ReasonUnavailable Reason = "unavailable" // the credential cannot be verified now
	ReasonEnrichment  Reason = "enrichment"  // what is to be added to the principal cannot be had; see detail
	ReasonSigning     Reason = "signing"     // no principal could be signed
	ReasonAudit       Reason = "audit"       // records cannot be written
	ReasonInternal    Reason = "internal"    // a defect of the edge
	ReasonEnded       Reason = "ended"       // let in; the credential ended before the request did
	ReasonRevoked     Reason = "revoked"     // let in; what it rested on was revoked before the request ended
	ReasonStale       Reason = "stale"       // the store has been out of reach for too long to know what is revoked
	ReasonCanceled    Reason = "canceled"    // the client left first
	ReasonSlow        Reason = "slow"        // the client took too long to send its body, or to take its answer
	ReasonOverload    Reason = "overload"    // too many requests are under way
	ReasonLimited     Reason = "limited"     // too many credentials from this address were refused
	ReasonPreflight   Reason = "preflight"   // a browser was told what a page may ask for; nothing was forwarded
	ReasonOrigin      Reason = "origin"      // a page of an origin that may not do that
)

// Decision is what became of a request.
type Decision string

// The decisions.
const (
	Allowed Decision = "allowed" // forwarded; a preflight is answered by the edge
	Refused Decision = "refused" // answered by the edge
	// WouldRefuse is a request that was forwarded without a principal only because
	// its route is observed.
	WouldRefuse Decision = "would_refuse"
)

// Record is what is written about one request. Zero fields are left out.
type Record struct {
	Time      time.Time // when the request began
	Duration  time.Duration
	RequestID string
	TraceID   string
	Client    string // the address of the peer
	Method    string
	Host      string
	Path      string
	Route     string
	RPC       string // service/method

	Decision Decision
	Reason   Reason
	// CredentialIssuer is who issued the credential, if it was taken.
	CredentialIssuer string
	// CredentialReason is that of the authenticator's closed list.
	CredentialReason string
	// Detail says more, in words of the edge or its configuration.
	Detail string
	// UpstreamReason is why a service refused the principal, in its own words.
	UpstreamReason string
	Status         int
	// Repeated is set if the request was sent to a second endpoint of its upstream
	// after the first had broken the connection, or had said that it did not process
	// it.
	Repeated bool
	// Smuggled counts the values that could have been taken for ours.
	Smuggled int
	// Omitted counts the requests before this one, refused for the same reason,
	// that have no record of their own.
	Omitted int

	// Principal is nil for anonymous requests.
	Principal *principalv1.Principal
	// Issuer is the name in which Principal was signed.
	Issuer string
}

// Options are the settings of [Open].
type Options struct {
	// Logger is told when writing begins to fail, and when it works again.
	Logger *slog.Logger
	// Refusals is how many records a second there are of requests that are refused
	// for the same reason before it is known who made them, and of enrolments that
	// are refused. 0 is no limit.
	Refusals int
	// Stdout is used instead of the standard output.
	Stdout io.Writer
}

// Log writes records. It is safe for concurrent use.
type Log struct {
	handler  slog.Handler
	sink     *sink
	refusals int // see Options

	flood         flood[Record]
	floodOfEvents flood[Event]

	close func() error
}

// Open returns a log that appends to a file, which it makes for this user alone
// if it is not there. Without a path it writes to the standard output.
func Open(path string, o Options) (*Log, error) {
	l := &Log{sink: &sink{to: o.Stdout, log: o.Logger}, refusals: o.Refusals, close: func() error { return nil }}
	if path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("the audit log cannot be opened: %w", err)
		}
		l.sink.to, l.close = f, f.Close
	}
	l.handler = slog.NewJSONHandler(l.sink, &slog.HandlerOptions{ReplaceAttr: replace})
	return l, nil
}

// replace leaves out the level, which is always the same.
func replace(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.LevelKey {
		return slog.Attr{}
	}
	return a
}

// Write writes a record. If that fails it is kept for later.
//
// A flood that costs its sender little must not fill the disk: of requests that are
// refused for [ReasonOverload] or [ReasonLimited] there is one record a second, and
// of those for [ReasonTarget], [ReasonRoute], [ReasonMissing], [ReasonCredential] and
// [ReasonOrigin], and of preflights, as many as [Options] says, for each reason. A
// later record counts the others.
func (l *Log) Write(ctx context.Context, r *Record) {
	now := r.Time.Add(r.Duration)
	l.writeDue(ctx, now)
	if l.flood.takes(string(r.Reason), l.most(r), now, r) {
		return
	}
	l.write(ctx, r)
}

// writeDue writes what has been kept back for long enough.
func (l *Log) writeDue(ctx context.Context, now time.Time) {
	l.writeKept(ctx, l.flood.due(now), l.floodOfEvents.due(now))
}

func (l *Log) writeKept(ctx context.Context, requests []summary[Record], events []summary[Event]) {
	for _, kept := range requests {
		kept.last.Omitted = kept.omitted
		l.write(ctx, &kept.last)
	}
	for _, kept := range events {
		kept.last.Omitted = kept.omitted
		l.writeEvent(ctx, &kept.last)
	}
}

func (l *Log) write(ctx context.Context, r *Record) {
	record := slog.NewRecord(r.Time, slog.LevelInfo, "request", 0)
	record.AddAttrs(r.attrs()...)
	_ = l.handler.Handle(ctx, record) // the sink never fails, it keeps
}

// Failing tries to write what was kept, and reports whether some of it still
// cannot be.
func (l *Log) Failing() bool { return l.sink.failing() }

// Close tries to write what was kept, and closes the file.
func (l *Log) Close() error {
	l.writeKept(context.Background(), l.flood.rest(), l.floodOfEvents.rest())
	l.sink.failing()
	return l.close()
}
