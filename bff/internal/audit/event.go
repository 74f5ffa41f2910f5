package audit

import (
	"context"
	"log/slog"
	"time"
)

// Action is what somebody has done with the edge itself. The list is closed.
type Action string

// The actions.
const (
	ActionRevoke Action = "revoke" // an operator has revoked something
	ActionEnroll Action = "enroll" // a service has enrolled a key
	ActionToken  Action = "token"  // an operator has made an enrolment token
	ActionIssue  Action = "issue"  // a service acts for itself
	ActionRenew  Action = "renew"  // a service has a fresh principal of the same session
	ActionRotate Action = "rotate" // an operator has had the edge publish its next key
	ActionReload Action = "reload" // an operator has changed the configuration
)

// Event is the record of an action. Zero fields are left out.
type Event struct {
	Time     time.Time
	Action   Action
	Decision Decision
	// Service is who did it or for whom it was done; Peer the address.
	Service, Peer string
	// Target is what was revoked.
	Target string
	// Note is the operator's reason.
	Note string
	// KeyID is the key concerned.
	KeyID string
	// Sequence is that of the store.
	Sequence uint64
	// PrincipalID is what was issued, Parent what it was issued in exchange for.
	PrincipalID, Parent string
	// Detail says more about a refusal, in words of the edge.
	Detail string
	// Omitted counts the actions before this one, refused as this one was, that have
	// no record of their own.
	Omitted int
}

// WriteEvent writes the record of an action. If that fails it is kept for later.
// Of enrolments that are refused there are as many records a second as [Options]
// says; a later one counts the others.
func (l *Log) WriteEvent(ctx context.Context, e *Event) {
	l.writeDue(ctx, e.Time)
	if l.floodOfEvents.takes(string(e.Action), l.mostEvents(e), e.Time, e) {
		return
	}
	l.writeEvent(ctx, e)
}

func (l *Log) writeEvent(ctx context.Context, e *Event) {
	record := slog.NewRecord(e.Time, slog.LevelInfo, "event", 0)
	text := func(key, value string) {
		if value != "" {
			record.AddAttrs(slog.String(key, clip(value)))
		}
	}
	text("action", string(e.Action))
	text("decision", string(e.Decision))
	text("service", e.Service)
	text("peer", e.Peer)
	text("target", e.Target)
	text("note", e.Note)
	text("key", e.KeyID)
	text("principal_id", e.PrincipalID)
	text("parent_id", e.Parent)
	text("detail", e.Detail)
	if e.Sequence > 0 {
		record.AddAttrs(slog.Uint64("sequence", e.Sequence))
	}
	if e.Omitted > 0 {
		record.AddAttrs(slog.Int("omitted", e.Omitted))
	}
	_ = l.handler.Handle(ctx, record) // the sink never fails, it keeps
}
