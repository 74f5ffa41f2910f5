// Package principalgrpc verifies principals in grpc-go servers and passes them
// on from grpc-go clients, for unary and streaming methods alike.
//
// Use [ServerOptions], [Check] and [DialOptions]; handlers read the principal
// with [principal.FromContext]. Programs that raise the severity of grpc-go's
// own log, or install a logger, wrap it with [NewLogger].
//
// What it does not do: grpc-go decodes a unary request before any interceptor
// runs, so a caller that will be refused can still make a server read one
// message of the allowed size. And a stream that has ended is only gone when
// its handler returns: a handler must return when Recv or Send fails, or when
// its context ends.
package principalgrpc
