package proxy_test

import (
	"encoding/binary"
	"net/http"
	"strings"
	"testing"
)

const unauthenticated = `{"code":"unauthenticated","message":"a valid credential is required"}`

// frame is one of gRPC, gRPC-Web and Connect streams.
func frame(flags byte, payload string) string {
	return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(payload)))) + payload
}

func get(t testing.TB, client *http.Client, e *edge, path string, header ...string) *http.Response {
	t.Helper()
	return do(t, client, http.MethodGet, e, path, header...)
}

func post(t testing.TB, client *http.Client, e *edge, path, contentType string, header ...string) *http.Response {
	t.Helper()
	return do(t, client, http.MethodPost, e, path, append(header, "Content-Type", contentType)...)
}

func do(t testing.TB, client *http.Client, method string, e *edge, path string, header ...string) *http.Response {
	t.Helper()
	var body *strings.Reader
	req, err := http.NewRequestWithContext(testContext(t), method, "http://"+e.addr+path, nil)
	if method == http.MethodPost {
		body = strings.NewReader(frame(0, "request"))
		req, err = http.NewRequestWithContext(testContext(t), method, "http://"+e.addr+path, body)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}
