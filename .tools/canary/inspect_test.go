package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// headers returns the golden vectors that are taken, as base64.
func headers(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../principal/testdata/vectors/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var header, expect string
		for line := range strings.Lines(string(data)) {
			if value, ok := strings.CutPrefix(line, "header: "); ok {
				header = strings.TrimSpace(value)
			}
			if value, ok := strings.CutPrefix(line, "expect: "); ok {
				expect = strings.TrimSpace(value)
			}
		}
		if expect == "accept" && header != "" {
			list = append(list, header)
		}
	}
	return list
}

func TestPrincipals(t *testing.T) {
	t.Parallel()
	list := headers(t)
	if len(list) < 20 {
		t.Fatalf("only %d vectors", len(list))
	}
	for i, header := range list {
		url := strings.NewReplacer("+", "-", "/", "_").Replace(header)
		for _, line := range []string{
			header, "x-principal-bin: " + header, `{"msg":"refused","header":"` + header + `"}`, "a/path/" + url, header + "==", header[:len(header)-80],
		} {
			if !slices.Equal(inspect(line), []string{principal}) {
				t.Errorf("vector %d is not found in a line of %d characters", i, len(line))
			}
		}
	}
}

func TestOthers(t *testing.T) {
	t.Parallel()
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"EdDSA","typ":"at+jwt"}`)) + "." + encode([]byte(`{"sub":"alice"}`)) + "." + encode(make([]byte, 64))
	for line, want := range map[string][]string{
		"got " + token + ", want none":                      {jwt},
		"Authorization: Bearer " + token:                    {jwt, bearer},
		"authorization: bearer " + encode(make([]byte, 32)): {bearer},
		"-----BEGIN " + "PRIVATE KEY-----":                  {privateKey},
		"-----BEGIN " + "EC PRIVATE KEY-----":               {privateKey},
		"canary" + "-cookie":                                {planted},
	} {
		if got := inspect(line); !slices.Equal(got, want) {
			t.Errorf("%d characters: got %q, want %q", len(line), got, want)
		}
	}
	for _, line := range []string{
		"", "ok  	github.com/onbehalf-dev/onbehalf/principal	1.2s", `WWW-Authenticate: Bearer error="invalid_token"`, "-----BEGIN CERTIFICATE-----",
		"    canary_test.go:12: no canary", "Bearer of the news", strings.Repeat("Cg", 400), encode(make([]byte, 400)), "eyJub3QiOiJhIGhlYWRlciJ9.e30.AAAAAAAAAAAA",
	} {
		if got := inspect(line); len(got) > 0 {
			t.Errorf("%q: got %q", line, got)
		}
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	secret := "canary" + "-cookie"
	found, err := run(nil, strings.NewReader("clean\n"+secret+"\nclean\n"), &out)
	if err != nil || found != 1 {
		t.Fatal(found, err)
	}
	if got := out.String(); !strings.HasPrefix(got, "standard input:2: a canary") || strings.Contains(got, secret) {
		t.Error(got)
	}
	if _, err := run([]string{"no such file"}, nil, &out); err == nil {
		t.Error("a file that is missing is taken for clean")
	}
}
