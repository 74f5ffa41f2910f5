// Package feed is the edge's side of the trust feed: it tells services which
// keys are trusted and what is revoked, takes their link keys in, and issues
// principals to them.
//
// [New] makes a [Server] over what a [state.State] knows; mount [Server.Handler]
// on the mesh listener, behind TLS that asks for client certificates where there
// are any. The rest of the edge asks it how far services are
// ([Server.Missing], [Server.Services]), and revokes through it
// ([Server.Revoke]).
//
// Without client certificates anybody who reaches the mesh listener can follow
// the feed, under any name: what it tells is not secret, but is who talks to
// whom. What changes anything needs a proof of its own. Nobody can hold others
// up: each watcher has a place of its own in one log, and who falls too far
// behind, or takes nothing for half a minute, begins again.
package feed
