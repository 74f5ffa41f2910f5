// Package proxy is the reverse proxy of the edge: it finds the route of a
// request, takes out of it everything that could be mistaken for the
// platform's own word, and forwards it with at most one signed principal.
//
// Make one [Table] of all routes and one [Handler] per upstream. For each
// request, call [Table.Match], decide who is calling, and call
// [Handler.Forward]; whatever is refused on the way is answered with
// [WriteError], in the caller's own protocol. Matching and forwarding read the
// same canonical path, so a route's rules cannot be walked around by spelling
// its path differently.
//
// The package neither authenticates nor decides. It cannot protect a service
// that is reachable without passing the edge, and it does not look into
// messages: an upstream that copies a principal into a response body hands it to
// the caller.
package proxy
