package state

import "context"

// Sweep is one pass of the janitor.
func (s *State) Sweep(ctx context.Context) { s.sweep(ctx) }

// The bounds that tests come close to.
const (
	LoggedEvents = loggedEvents
	SteadyPasses = steadyPasses
	ToldBytes    = toldBytes
	KeptInFull   = keptInFull
)
