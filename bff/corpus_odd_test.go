package bff_test

import (
	"net/http"
	"strings"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

// withKeys adds a second type of credential, of which no one is good, and room
// for many that are not.
func withKeys(s setup) setup {
	s.options = append(s.options, bff.WithAuthenticator(apiKeys{err: &authn.Error{Reason: authn.ReasonSignature}}))
	s.extra += "limits: {failed_credentials: 10000}\n"
	return s
}

const bearerLine = "\r\nAuthorization: Bearer TOKEN"

// oddLines are what only HTTP/1.1 can write.
var oddLines = []trial{
	withField("a folded line", "X-Kept", "kept\r\n x-principal-bin: QUFB"),
	{name: "a folded first line", becomes: atServer, wire: wire{host: "edge.test\r\n x-principal-bin: STOLEN"}},
	withField("a bare line feed", "X-Kept", "kept\nx-principal-bin: STOLEN"),
	{name: "a bare carriage return", becomes: atServer, wire: wire{fields: []field{{"X-Kept", "kept\rx-principal-bin: STOLEN"}}}},
	{name: "a NUL", becomes: atServer, wire: wire{fields: []field{{"X-Kept", "a\x00b"}}}},
	{name: "a line without a colon", becomes: atServer, wire: wire{host: "edge.test\r\nx-principal-bin"}},
	{name: "a line without a name", becomes: atServer, wire: wire{fields: []field{{"", "STOLEN"}}}},
	{name: "no host", becomes: atServer, wire: wire{host: "-"}},
	{name: "an empty host", wire: wire{host: " "}},
	{name: "two hosts", becomes: atServer, wire: wire{fields: []field{{"Host", "other.test"}}}},
	{name: "a host with a space", becomes: atServer, wire: wire{host: "edge.test other.test"}},
	{name: "HTTP/1.0", wire: wire{version: "HTTP/1.0", fields: []field{{"x-principal-bin", "STOLEN"}}}},
	{name: "HTTP/1.0 without a host", wire: wire{version: "HTTP/1.0", host: "-", fields: []field{{"x-principal-bin", "STOLEN"}}}},
	{name: "HTTP/1.2", wire: wire{version: "HTTP/1.2"}},
	{name: "HTTP/3.0", becomes: atServer, wire: wire{version: "HTTP/3.0"}},
	{name: "no version", becomes: atServer, wire: wire{version: "\t"}},
	{name: "expects more", becomes: atServer, wire: wire{fields: []field{{"Expect", "200-ok"}}}},
	{name: "expects to go on", wire: wire{method: http.MethodPost, body: "hi", fields: []field{{"Expect", "100-continue"}, {"x-principal-bin", "STOLEN"}}}},
	{name: "expects to go on, refused", anonymous: true, becomes: "missing", wire: wire{
		method: http.MethodPost, verbatim: true, fields: []field{{"Expect", "100-continue"}, {"Content-Length", "100"}},
	}},
	{name: "a body of a GET", wire: wire{body: "GET /public/inner HTTP/1.1\r\nHost: x\r\n\r\n", fields: []field{{"x-principal-bin", "STOLEN"}}}},
	{name: "a chunk extension", wire: wire{
		method: http.MethodPost, verbatim: true, fields: []field{{"Transfer-Encoding", "chunked"}},
		body: "2;x-principal-bin=\"STOLEN\"\r\nhi\r\n0;x\r\n\r\n",
	}},
	{name: "a header of 40 KiB", becomes: atServer, wire: wire{fields: []field{{"X-Principal-Bin", strings.Repeat("A", 40<<10)}}}},
	{name: "a token of 40 KiB", becomes: atServer, anonymous: true, wire: wire{
		host: "edge.test" + bearerLine + strings.Repeat("A", 40<<10),
	}},
}

// oddFields are what only HTTP/2 can write.
var oddFields = []trial{
	{name: "cookies in pieces", wire: wire{fields: []field{{"cookie", "a=1"}, {"cookie", "b=2"}, {"x-principal-bin", "STOLEN"}}}},
	{name: "upper case", becomes: atServer, wire: wire{verbatim: true, fields: []field{{"X-Principal-Bin", "STOLEN"}}}},
	{name: "a line in a value", becomes: atServer, wire: wire{fields: []field{{"x-kept", "kept\r\nx-principal-bin: STOLEN"}}}},
	{name: "a line in a name", becomes: atServer, wire: wire{fields: []field{{"x-kept\r\nx-principal-bin", "STOLEN"}}}},
	{name: "a colon in a name", becomes: atServer, wire: wire{fields: []field{{"x-principal-bin: a", "STOLEN"}}}},
	{name: "an unknown pseudo field", becomes: atServer, wire: wire{fields: []field{{":x-principal-bin", "STOLEN"}}}},
	{name: "a pseudo field at the end", becomes: atServer, wire: wire{fields: []field{{"x-kept", "1"}, {":path", "/public/x"}}}},
	{name: "two paths", becomes: atServer, wire: wire{fields: []field{{":path", "/public/x"}}}},
	{name: "two methods", becomes: atServer, wire: wire{fields: []field{{":method", "GET"}}}},
	{name: "two authorities", becomes: atServer, wire: wire{fields: []field{{":authority", "other.test"}}}},
	{name: "a line in the path", becomes: atServer, wire: wire{verbatim: true, fields: []field{
		{":method", "GET"}, {":scheme", "https"}, {":authority", "edge.test"}, {":path", "PATH HTTP/1.1\r\nx-principal-bin: STOLEN\r\n\r\n"},
	}}},
	{name: "a space in the method", becomes: atServer, wire: wire{method: "GET /public/x HTTP/1.1\r\nx:"}},
	{name: "a URL as the scheme", becomes: atServer, wire: wire{verbatim: true, fields: []field{
		{":method", "GET"}, {":scheme", "http://other.test/x?"}, {":authority", "edge.test"}, {":path", "PATH"}, {"x-principal-bin", "STOLEN"},
	}}},
	{name: "a URL as the path", becomes: "target", wire: wire{verbatim: true, fields: []field{
		{":method", "GET"}, {":scheme", "https"}, {":authority", "edge.test"}, {":path", "https://other.testPATH"},
	}}},
	{name: "no path", becomes: atServer, wire: wire{verbatim: true, fields: []field{{":method", "GET"}, {":scheme", "https"}, {":authority", "edge.test"}}}},
	{name: "an empty path", becomes: atServer, wire: wire{verbatim: true, fields: []field{
		{":method", "GET"}, {":scheme", "https"}, {":authority", "edge.test"}, {":path", ""},
	}}},
	{name: "no method", becomes: atServer, wire: wire{verbatim: true, fields: []field{{":scheme", "https"}, {":authority", "edge.test"}, {":path", "PATH"}}}},
	{name: "an authority with a user", becomes: atServer, wire: wire{host: "edge.test@other.test"}},
	{name: "an authority with a line", becomes: atServer, wire: wire{host: "edge.test\r\nx-principal-bin: STOLEN"}},
	{name: "a tunnel", becomes: "target", exact: true, wire: wire{verbatim: true, fields: []field{{":method", "CONNECT"}, {":authority", "edge.test:80"}}}},
	{name: "an extended tunnel", becomes: atServer, wire: wire{verbatim: true, fields: []field{
		{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "https"}, {":authority", "edge.test"}, {":path", "PATH"},
	}}},
	{name: "chunks", becomes: atServer, wire: wire{method: http.MethodPost, body: "0\r\n\r\n", fields: []field{{"transfer-encoding", "chunked"}}}},
	{name: "TE of more", becomes: atServer, wire: wire{fields: []field{{"te", "trailers, chunked"}}}},
	{name: "another host", becomes: "target", wire: wire{fields: []field{{"host", "other.test"}}}},
	{name: "the same host", wire: wire{fields: []field{{"host", "edge.test"}}}},
	{name: "a host alone", wire: wire{host: "-", fields: []field{{"host", "edge.test"}}}},
	{name: "a header of 40 KiB", becomes: atServer, wire: wire{fields: []field{{"x-principal-bin", strings.Repeat("A", 40<<10)}}}},
	{name: "pseudo fields in the trailer", becomes: breaks, wire: wire{
		method: http.MethodPost, body: "hi", trailer: []field{{":path", "/public/x"}, {"x-principal-bin", "STOLEN"}},
	}},
}
