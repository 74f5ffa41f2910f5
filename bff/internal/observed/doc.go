// Package observed says, from the logs of services and edges, which calls would
// be refused if what is observed now were in force, why, and who makes them.
//
// It reads the lines of [principal.LogObserver], in JSON or in the words of slog's
// other handlers, and the edge's audit records, among whatever else is in a log.
// They are read once, in the order of their times as far as each file has one, and
// in bounded memory: what goes beyond a bound is counted, and not told apart.
//
// A log is what its writer says, and holds what callers chose. Nothing of it
// decides anything here, and none of it reaches a terminal as it is.
package observed
