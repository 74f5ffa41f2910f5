// Package principalconnect verifies principals in servers of connect-go v2 and
// passes them on from its clients, for the Connect, gRPC and gRPC-Web protocols,
// unary and streaming.
//
// Use [NewServerInterceptor] and [Check] in a server; [NewTransport] and
// [NewClientInterceptor] in a client. Handlers read the principal with
// [principal.FromContext]. Handlers and clients of connect-go v1 are served by
// the package connectv1 below this one, so that neither version brings the
// other one along.
//
// What it does not do: a stream that has ended is only gone when its handler
// returns, so a handler must return when Receive or Send fails, or when its
// context ends. Over HTTP/1.1 the connection of a client stream is also held
// until its client sends something or goes; that is for the server's
// ReadTimeout to bound. And the headers of a call are bounded by the
// MaxHeaderBytes of the [net/http.Server], 1 MiB by default: 16 KiB is plenty.
package principalconnect
