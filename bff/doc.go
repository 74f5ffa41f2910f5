// Package bff is the edge of a platform: it takes requests from outside,
// verifies the credential of each once, removes every header that only the
// platform itself may write, and forwards them with one signed principal.
//
// By default run the command onbehalf. In a program of your own:
//
//	cfg, err := bff.LoadConfig("onbehalf.yaml")
//	...
//	s, err := bff.New(cfg)
//	...
//	err = s.Run(ctx) // until ctx ends, and all requests have
//
// A [Server] is an [http.Handler] too, for tests and for listeners of another
// kind.
//
// # What it does not protect against
//
// Whoever holds one of its signing keys can state any principal: whoever can read
// the data directory, write to the store, or run code in this process, is
// everybody. A service that can be reached past the edge gets whatever its caller
// likes to send, though nothing that its interceptors take for a principal. A
// stolen credential is as good as the rightful one, for as long as it lives and
// for up to [Limits.MintWindow] after its issuer has taken it back, but no longer
// than until it is revoked here.
package bff
