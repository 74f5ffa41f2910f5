// Package contract holds the tests that every transport has to pass: one table
// of attacks and faults, run against each server that a guard can stand before
// and each client that a propagator can stand behind, unary and streaming. The
// cases are named by their ids in the project's corpus of attacks.
package contract
