// Package trust joins a service to the platform: from one call on it knows the
// keys that are trusted and what has been revoked, has a link key of its own, and
// can act for itself.
//
//	node, err := trust.Join(ctx, "https://bff.internal:9443", "orders", trust.WithTLSConfig(conf))
//	if err != nil {
//		return err // says what was missing: the feed, or the own key
//	}
//	defer node.Close()
//
//	guard, err := principal.NewGuard(node.Verifier(), rules)           // a server
//	opts := principalgrpc.DialOptions(node.Propagator(), "payments")   // a client
//	ctx, err = node.AsService(ctx)                                     // a job
//	err = node.Health()                                                // a readiness probe
//
// # The feed
//
// A node follows the edge's feed: a snapshot, then events, each of which names
// the sequence that it follows. What does not follow, or goes back, is refused,
// and the node calls anew. A revocation holds from the moment on at which its
// event was received, for cached principals and for streams too.
//
// Between events the edge sends heartbeats. When three are missing the node dials
// a new connection, after 50 ms at first and every 5 s in the end. How old its
// knowledge is, it counts from the start of its call, by its own monotonic clock:
// a message that was held up on the way does not count as news. When nothing was
// heard for 30 seconds (see [principal.WithStaleness]) the verifier refuses
// everybody, and recovers by itself.
//
// Keys come from the feed alone, but for one that the feed has not told of: then
// the node fetches the edge's key set, at most every ten seconds, and takes what
// is new in it. So a key that is put to use while the feed is away, or late, is
// found. Revocations come by the feed alone.
//
// # The link key
//
// A service's link key is made in memory and never leaves it. The node enrols its
// public half with the edge. Which service it is, it shows by its client
// certificate, or the first time by a token (see [WithEnrollmentToken]), and from
// then on by the key before. It signs with a key only when its own feed shows
// that key, and replaces it at about half of its life. When the key was revoked
// it signs nothing more, says so in [Node.Health], and enrols another one if it
// has a certificate; whether that is accepted is for the edge to decide.
//
// # What it does not protect against
//
// Whoever controls the edge, or the name and certificate of its mesh listener,
// decides who is believed. An issuer's name that is not pinned with [WithIssuer]
// is that of whoever answers first. While a machine is suspended its monotonic
// clock may stand still: for up to 30 seconds after it has woken, it believes
// what it knew before. And what a service passed on before it heard of a
// revocation is for the next service to refuse.
package trust
