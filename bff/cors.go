package bff

import "time"

// CORS says which web pages of other origins may call a route, see [Route], as
// https://fetch.spec.whatwg.org/#http-cors-protocol has it. A browser protects its
// user by it, and nobody else: whoever is no browser calls the route as ever.
type CORS struct {
	// Origins are those of the pages: each a scheme, a host and, unless it is the
	// scheme's own, a port, such as https://shop.example. They are compared as a
	// whole; there are no patterns, and null is never one. "*" alone is all pages
	// but those of the origin null, on a route with auth: none. Required.
	Origins []string `yaml:"origins"`

	// Methods are what pages may use, of GET, HEAD, POST, PUT, PATCH and DELETE.
	// Default: GET, HEAD and POST.
	Methods []string `yaml:"methods"`

	// Headers are what pages may send beside Authorization, Content-Type and the
	// headers of Connect and gRPC-Web. Default: none.
	Headers []string `yaml:"headers"`

	// Expose are the headers of answers that pages may read beside x-request-id and
	// those of gRPC-Web; trailers of a unary Connect call are headers that begin with
	// Trailer-. Default: none.
	Expose []string `yaml:"expose"`

	// Credentials lets browsers send cookies along. For access tokens in
	// Authorization it is not needed. Default: false.
	Credentials bool `yaml:"credentials"`

	// MaxAge is how long a browser need not ask again. At least 1s, at most 24h, of
	// which some browsers take 2h. Default: 10m.
	MaxAge time.Duration `yaml:"max_age"`
}
