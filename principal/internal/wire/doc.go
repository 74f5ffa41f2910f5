// Package wire reads and writes the bytes of a signed principal: the outer
// message, the payloads of its blocks, and the transcript that is signed. It
// knows the grammar and the caps of the format and nothing of keys, time or
// policy; what it returns is unverified.
//
// It is written by hand because generated parsing costs more than all hashing
// together and is lenient where a signed format must not be: it lets the last
// of several values win and ignores order. The generated types in gen stay the
// contract; tests hold the two against each other.
package wire

// Limits of the format. Sizes are bytes of decoded input.
const (
	MaxHeader      = 3072
	MaxLinks       = 6
	MaxDelegations = 6
	MaxScopes      = 64
	MaxRoles       = 16
	MaxAttributes  = 16
	MaxString      = 256

	maxAttributeBytes = 1024
	maxKeyID          = 32
	firstCritical     = 1000
)

// Fault says which kind of refusal an [Error] stands for.
type Fault uint8

const (
	// Malformed input breaks the grammar or a cap.
	Malformed Fault = iota
	// Unsupported input may be valid in a later version of the format.
	Unsupported
	// Time is a time that is absent, zero or negative.
	Time
	// Size is input longer than MaxHeader.
	Size
)

// Error says what is wrong with some input. It names the field and never
// repeats what the field holds.
type Error struct {
	Fault   Fault
	Field   string
	Problem string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Field == "" {
		return e.Problem
	}
	return e.Field + ": " + e.Problem
}
