//go:build race

package principal_test

// Signed chains are slow under the race detector.
const signedChains = 2_000
