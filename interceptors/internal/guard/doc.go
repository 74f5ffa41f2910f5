// Package guard is what the interceptors of all transports have in common: how
// a call is described to a [principal.Guard], what a refused caller is told,
// when a stream ends, and what becomes of a handler that panics. It knows no
// RPC stack.
package guard
