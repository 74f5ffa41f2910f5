package doctor

import (
	"context"
	"time"
)

// notBefore is earlier than any clock that is right.
var notBefore = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)

// clock looks whether the time can be right, and whether something keeps it so.
// Between edge and services, 30 seconds are allowed for.
func (d *doctor) clock(context.Context) []Finding {
	const name = "clock"
	now := d.Now()
	if now.Before(notBefore) {
		return one(name, Problem, now.UTC().Format(time.DateTime)+" UTC is in the past: set the clock, and keep it right with NTP")
	}
	text := "it is " + now.UTC().Format(time.DateTime) + " UTC"
	switch synced, known := synchronised(); {
	case !known:
		return one(name, Unknown, text+"; whether something keeps it right cannot be seen here: it has to be within 30s of every service's")
	case !synced:
		return one(name, Warning, text+", and the kernel says that nothing keeps it right: run an NTP client on this machine")
	default:
		return one(name, OK, text+", and the kernel says that it is kept right")
	}
}
