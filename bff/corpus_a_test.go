package bff_test

import (
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// withField is a trial of one header.
func withField(name, header, value string) trial {
	return trial{name: name, wire: wire{fields: []field{{header, value}}}}
}

// echoing sends everything back that must not come out of the edge (A13).
var echoing = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	h, value := w.Header(), r.Header.Get("X-Principal-Bin")
	h.Set("Trailer", "X-Principal-Bin")
	h.Set("X-Principal-Bin", value)
	h.Set("X_Principal.Bin", value)
	h.Set("Trailer-X-Principal-Bin", value)
	h.Set("Content-Type", r.Header.Get("Content-Type"))
	h.Set("Link", "</x>; rel=preload")
	w.WriteHeader(http.StatusEarlyHints)
	w.WriteHeader(http.StatusOK)
	w.Write(lastFrame(r.Header.Get("Content-Type"), value))
	h.Set("X-Principal-Bin", value)
	h.Set(http.TrailerPrefix+"Grpc-Metadata-X-Principal-Bin", value)
})

// lastFrame is the end of a stream in protocols that have their trailers there.
func lastFrame(contentType, value string) []byte {
	flag, payload := byte(0x80), "grpc-status: 0\r\nx-principal-bin: "+value+"\r\n"
	switch contentType {
	case "application/connect+json":
		flag, payload = 2, `{"metadata":{"X-Principal-Bin":["`+value+`"]}}`
	case "application/grpc-web+proto":
	default:
		return []byte("ok")
	}
	return append(binary.BigEndian.AppendUint32([]byte{flag}, uint32(len(payload))), payload...)
}

// streams are calls whose answer ends with trailers in its body.
var streams = []trial{
	{name: "A13 Connect", wire: wire{method: http.MethodPost, body: "hi", fields: []field{{"Content-Type", "application/connect+json"}}}},
	{name: "A13 gRPC-Web", wire: wire{method: http.MethodPost, body: "hi", fields: []field{{"Content-Type", "application/grpc-web+proto"}}}},
}

// A01, A02, A08: a genuine principal of somebody else, as often as a client likes.
var principals = []trial{
	withField("A01 one", "x-principal-bin", "STOLEN"),
	withField("A08 joined by a comma", "x-principal-bin", "STOLEN,STOLEN"),
	{name: "A08 two lines", wire: wire{fields: []field{{"x-principal-bin", "STOLEN"}, {"X-Principal-Bin", "QUFB"}}}},
	{name: "A08 empty, and one", wire: wire{fields: []field{{"x-principal-bin", ""}, {"x-principal-bin", "STOLEN"}}}},
	{name: "A01 with a body", wire: wire{method: http.MethodPost, body: "hi", fields: []field{{"x-principal-bin", "STOLEN"}}}},
	{name: "A02 public", anonymous: true, wire: wire{path: "/public", fields: []field{{"x-principal-bin", "STOLEN"}}}},
	{name: "A02 public, with a credential", wire: wire{path: "/public", fields: []field{{"x-principal-bin", "STOLEN"}}}},
	{name: "A02 healthz", anonymous: true, wire: wire{path: "/healthz", fields: []field{{"x-principal-bin", "STOLEN"}}}},
	{name: "A02 optional", anonymous: true, wire: wire{path: "/optional", fields: []field{{"x-principal-bin", "STOLEN"}}}},
	{name: "A02 preflight", anonymous: true, wire: wire{method: http.MethodOptions, path: "/public", fields: []field{
		{"Origin", "https://page.test"}, {"Access-Control-Request-Method", "POST"}, {"x-principal-bin", "STOLEN"},
	}}},
	{name: "A02 preflight where a credential is needed", becomes: "missing", anonymous: true, wire: wire{
		method: http.MethodOptions, fields: []field{{"Origin", "https://page.test"}, {"x-principal-bin", "STOLEN"}},
	}},
	{name: "A02 no route", becomes: "no_route", wire: wire{path: "/nowhere", fields: []field{{"x-principal-bin", "STOLEN"}}}},
	{name: "D17 instead of a credential", becomes: "missing", anonymous: true, wire: wire{fields: []field{{"x-principal-bin", "STOLEN"}}}},
	{name: "D17 as a credential", becomes: "credential", anonymous: true, wire: wire{fields: []field{{"Authorization", "Bearer STOLEN"}}}},
}

// A03: names that an upstream may take for ours.
func aliases() []trial {
	var list []trial
	for _, name := range []string{
		"X_Principal_Bin", "x_principal-bin", "X.Principal.Bin", "x-PRINCIPAL-bin", "X-Principal", "X-Principal-Bin-", "XPrincipalBin",
		"X!Principal~Bin", "-X-Principal-Bin", "HTTP_X_PRINCIPAL_BIN", "Grpc-Metadata-X-Principal-Bin", "Trailer-X-Principal-Bin",
		"x-principal-reason", "grpcgateway-x-principal-bin", "X-Principal-Bin-Bin", "X--Principal--Bin", "x'principal'bin",
	} {
		public := withField("A03 "+name+" on a public route", name, "STOLEN")
		public.path, public.anonymous = "/public", true
		list = append(list, withField("A03 "+name, name, "STOLEN"), public)
	}
	for _, name := range []string{"X-Principal-Bin ", "X Principal-Bin", "X-Principal\x00-Bin", "X-Princip\xc3\xa4l", "X(Principal)Bin", "X-Principal-Bin\t"} {
		tr := withField("A03 the name "+name, name, "STOLEN")
		tr.becomes = atServer
		list = append(list, tr)
	}
	return list
}

// A05: a client names our headers as those of its connection, in which HTTP/2 has
// none at all.
func connections() []trial {
	var list []trial
	for _, lines := range [][]string{
		{"close, X-Principal-Bin"},
		{"x-principal-bin"},
		{"Authorization"},
		{"x-principal-bin", "close, x-request-id"},
		{" \t x-principal-bin \t,\t X-Forwarded-For ,, "},
		{"X_Principal_Bin, Host, Content-Length, Transfer-Encoding"},
		{"keep-alive, x-principal-bin, traceparent"},
	} {
		tr := trial{name: "A05 " + strings.Join(lines, " and "), differs: true, becomes2: atServer}
		for _, line := range lines {
			tr.fields = append(tr.fields, field{"Connection", line})
		}
		list = append(list, tr)
	}
	for _, name := range []string{"Proxy-Connection", "Keep-Alive"} {
		tr := withField("A05 "+name, name, "x-principal-bin")
		tr.differs, tr.becomes2 = true, atServer
		list = append(list, tr)
	}
	return append(list, withField("A05 TE", "TE", "trailers"))
}

// A10, A14: what else an upstream may believe, and what is for the edge alone.
func trusted() []trial {
	var list []trial
	for _, name := range []string{
		"X-Forwarded-Client-Cert", "Forwarded", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-For", "X-Forwarded-Host",
		"X-Forwarded-Proto", "X-Forwarded-Uri", "X-Forwarded-Prefix", "X_Forwarded_User", "X-Original-URL", "X-Rewrite-URL", "X-Real-IP", "X_Real.IP",
		"True-Client-IP", "Remote-User", "X-Auth-Request-User", "Client-Cert", "Impersonate-User", "X-Envoy-Internal", "X-Request-Id", "X_Request_Id",
		"Proxy", "Txn-Token", "Content_Length", "Transfer_Encoding", "Proxy-Authorization", "DPoP", "X-Api-Key", "X_Api_Key", "Authorization_",
		"Grpc-Metadata-Authorization", "Grpc-Metadata-X-Forwarded-User", "HTTP2-Settings",
	} {
		number := "A10 "
		if strings.Contains(strings.ToLower(name), "auth") || strings.Contains(strings.ToLower(name), "key") || name == "DPoP" {
			number = "A14 "
		}
		public := withField(number+name+" on a public route", name, forgedValue)
		public.path = "/public"
		list = append(list, withField(number+name, name, forgedValue), public)
	}
	for i := range list { // our own key is not good, see openTrials
		if strings.Contains(list[i].name, "A14 X-Api-Key") && list[i].path == "" {
			list[i].becomes = "credential"
		}
	}
	return list
}

// credentials are those that are no longer one, or more than one.
func credentials() []trial {
	var list []trial
	for name, values := range map[string][]string{
		"two lines":                 {"Bearer TOKEN", "Bearer TOKEN"},
		"another scheme, and one":   {"Basic dTpw", "Bearer TOKEN"},
		"joined":                    {"Bearer TOKEN, Bearer TOKEN"},
		"only the scheme":           {"Bearer"},
		"a tab":                     {"Bearer\tTOKEN"},
		"text after it":             {"Bearer TOKEN x"},
		"twice the scheme":          {"Bearer " + "Bearer TOKEN"},
		"quoted":                    {`Bearer "TOKEN"`},
		"a parameter":               {"Bearer token=TOKEN"},
		"padded":                    {"Bearer TOKEN="},
		"F03 dots":                  {"Bearer " + strings.Repeat(".", 20_000)},
		"F03 segments":              {"Bearer " + strings.Repeat("e30.", 5_000)},
		"F01 none":                  {"Bearer eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.e30."},
		"F03 encrypted":             {"Bearer eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..a.b.c"},
		"F02 with a key of its own": {"Bearer eyJhbGciOiJSUzI1NiIsImprdSI6Imh0dHA6Ly8xMjcuMC4wLjE6MS9rIiwidHlwIjoiYXQrand0In0.e30.AAAA"},
	} {
		tr := trial{name: "credential: " + name, becomes: "credential", anonymous: true}
		for _, value := range values {
			tr.fields = append(tr.fields, field{"Authorization", value})
		}
		list = append(list, tr)
	}
	for name, value := range map[string]string{"lower case": "bearer TOKEN", "two spaces": "bearer  TOKEN", "upper case": "BEARER TOKEN"} {
		list = append(list, trial{name: "credential: " + name, anonymous: true, anew: true, wire: wire{fields: []field{{"Authorization", value}}}})
	}
	for name, value := range map[string]string{"Basic": "Basic TOKEN", "none": "TOKEN", "a longer scheme": "Bearers TOKEN"} {
		list = append(list, trial{
			name: "credential: " + name, becomes: "missing", anonymous: true, wire: wire{fields: []field{{"Authorization", value}}},
		})
	}
	// In a query or a cookie a credential is none.
	return append(list,
		trial{name: "credential: a cookie", becomes: "missing", anonymous: true, wire: wire{fields: []field{{"Cookie", "Authorization=Bearer TOKEN"}}}},
		trial{name: "credential: another name", becomes: "missing", anonymous: true, wire: wire{fields: []field{{"X-Authorization", "Bearer TOKEN"}}}},
	)
}

// A11: no way to a connection on which the edge does not look at requests.
var tunnels = []trial{
	{name: "A11 h2c", differs: true, becomes2: atServer, wire: wire{fields: []field{
		{"Connection", "Upgrade, HTTP2-Settings"}, {"Upgrade", "h2c"}, {"HTTP2-Settings", "AAMAAABkAAQAAP__"},
	}}},
	{name: "A11 h2c and websocket", differs: true, becomes2: atServer, wire: wire{fields: []field{
		{"Connection", "Upgrade"}, {"Upgrade", "websocket, h2c"},
	}}},
	{name: "A11 a WebSocket where none is allowed", differs: true, becomes2: atServer, wire: wire{fields: []field{
		{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}, {"Sec-WebSocket-Version", "13"},
	}}},
	{name: "A11 another", differs: true, becomes2: atServer, wire: wire{fields: []field{{"Connection", "Upgrade"}, {"Upgrade", "TLS/1.0"}}}},
	{name: "A11 without Connection", differs: true, becomes2: atServer, wire: wire{fields: []field{{"Upgrade", "h2c"}}}},
	{name: "A13 TRACE", becomes: "target", wire: wire{method: http.MethodTrace, fields: []field{{"x-principal-bin", "STOLEN"}}}},
}

// Trailers are a second way in.
var trailers = []trial{
	{name: "A03 in the trailer", wire: wire{method: http.MethodPost, body: "hi", trailer: []field{{"x-principal-bin", "STOLEN"}}}},
	{name: "A03 in the trailer of a public route", anonymous: true, wire: wire{
		method: http.MethodPost, path: "/public", body: "hi", trailer: []field{{"x-principal-bin", "STOLEN"}, {"X_Principal_Bin", "STOLEN"}},
	}},
	{name: "A03 announced", wire: wire{
		method: http.MethodPost, body: "hi", fields: []field{{"Trailer", "X-Principal-Bin, Authorization"}},
		trailer: []field{{"x-principal-bin", "STOLEN"}},
	}},
	{name: "A03 announced, but not sent", wire: wire{fields: []field{{"Trailer", "x-principal-bin"}}}},
	{name: "A10 in the trailer", wire: wire{method: http.MethodPost, body: "hi", trailer: []field{{"X-Forwarded-User", forgedValue}}}},
	{name: "a credential in the trailer", becomes: "missing", anonymous: true, wire: wire{
		method: http.MethodPost, body: "hi", fields: []field{{"Trailer", "X-Api-Key"}}, trailer: []field{{"X-Api-Key", "TOKEN"}},
	}},
	{name: "Authorization in the trailer", differs: true, becomes2: breaks, wire: wire{
		method: http.MethodPost, body: "hi", trailer: []field{{"authorization", "Bearer TOKEN"}, {"x-principal-bin", "STOLEN"}},
	}},
}

// Section A: whatever a client sends, over each version of HTTP, an upstream gets
// the one principal that the edge made for that client, or nothing at all.
func TestSectionA(t *testing.T) {
	t.Parallel()
	list := slices.Concat(principals, aliases(), connections(), trusted(), credentials(), tunnels, trailers, streams, in("HTTP/1.1", oddLines), in("HTTP/2", oddFields))
	eachDoorTries(t, withKeys(setup{handler: echoing}), list)
}
