//go:build !race

package principal_test

const signedChains = 20_000
