// Package adopt does what a team does that puts Onbehalf before a service that
// it has: from examples/adopt it takes the repository as it was and as it is
// then, generates, tests, builds and starts it, and calls it through an edge.
package adopt
