package bff_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/onbehalf-dev/onbehalf/bff"
)

// An edge as the handler of a server of one's own. A public route takes
// requests from everybody; what they claim about themselves does not pass.
func ExampleNew() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "principals: %d", len(r.Header["X-Principal-Bin"]))
	}))
	defer service.Close()
	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	edge, err := bff.New(&bff.Config{
		Version: 1,
		Issuer:  "https://edge.example",
		DataDir: filepath.Join(dir, "data"),
		Audit:   bff.Audit{File: filepath.Join(dir, "audit.jsonl")},
		Routes:  []bff.Route{{PathPrefix: "/", Upstream: service.URL, Auth: bff.AuthNone}},
	}, bff.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		panic(err)
	}
	server := httptest.NewServer(edge)
	defer edge.Close()
	defer server.Close()

	req, err := http.NewRequest(http.MethodGet, server.URL, nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set("X-Principal-Bin", "forged")
	res, err := server.Client().Do(req)
	if err != nil {
		panic(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d, %s\n", res.StatusCode, body)
	// Output: 200, principals: 0
}
