//go:build race

package oidc_test

// slowdown is how much longer everything may take under the race detector.
const slowdown = 10
