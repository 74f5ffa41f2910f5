package observed

import (
	"fmt"
	"time"
)

// Verdict is what there is to say of a method.
type Verdict string

// The verdicts.
const (
	Ready    Verdict = "ready"     // was called, and nothing would be refused
	NotReady Verdict = "not_ready" // something would be refused
	InForce  Verdict = "in_force"  // something was refused, so it is not observed
	Unseen   Verdict = "unseen"    // was not called
)

// Verdict returns the method's.
func (m *Method) Verdict() Verdict {
	switch {
	case m.WouldRefuse > 0:
		return NotReady
	case m.Refused > 0:
		return InForce
	case m.Calls == 0:
		return Unseen
	default:
		return Ready
	}
}

// Sentence says the verdict with its figures.
func (m *Method) Sentence() string {
	calls := count(m.Calls, "call") + m.during()
	switch m.Verdict() {
	case NotReady:
		s := fmt.Sprintf("not ready: %s of %s would be refused", digits(m.WouldRefuse), calls)
		if m.Refused > 0 {
			s += ", " + digits(m.Refused) + " " + was(m.Refused) + " refused"
		}
		return s
	case InForce:
		return fmt.Sprintf("in force: %s of %s %s refused", digits(m.Refused), calls, was(m.Refused))
	case Unseen:
		return "not seen: no call in these logs"
	default:
		return fmt.Sprintf("ready to enforce: %s, none would be refused", calls)
	}
}

func was(n int64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// during is how long calls were seen, as people say it.
func (m *Method) during() string {
	d := m.Last.Sub(m.First)
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := int64(d / unit.size); n >= 2 {
			return " in " + count(n, unit.name)
		}
	}
	return ""
}
