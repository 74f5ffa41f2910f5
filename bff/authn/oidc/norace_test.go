//go:build !race

package oidc_test

const slowdown = 1
