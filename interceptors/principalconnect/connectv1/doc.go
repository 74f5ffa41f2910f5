// Package connectv1 verifies principals before handlers of connect-go v1 and
// passes them on from its clients, for the Connect, gRPC and gRPC-Web protocols,
// unary and streaming.
//
// Use [NewMiddleware] around handlers, and [NewClientInterceptor] with
// [WithoutRedirects] in clients. Handlers read the principal with
// [principal.FromContext].
//
// The server side is middleware because an interceptor of connect-go v1 runs
// after the first message was read and decoded, whoever sent it, and never sees
// the TLS connection. It fits any other handler of these protocols too.
//
// What it does not do: a stream that has ended is only gone when its handler
// returns, so a handler must return when reading or writing fails, or when its
// context ends. gRPC does not tell a unary call from a stream, so that a unary
// one that takes longer than its principal lives ends too; that of Connect may
// finish. And the headers of a call are bounded by the MaxHeaderBytes of the
// [net/http.Server], 1 MiB by default: 16 KiB is plenty.
package connectv1
