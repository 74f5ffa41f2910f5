package bff_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// Z01: whatever verb of fmt is used by mistake, and in whatever way slog prints
// it, nothing that an edge or a service holds shows a credential, a principal or a
// key.
func TestNothingPrintsSecrets(t *testing.T) {
	t.Parallel()
	e := start(t, setup{})
	token := e.provider.token("alice", nil)
	header := e.header(e.get("/linked", token))
	node := e.join("orders")
	ctx := admitted(t, node.Verifier(), header)
	_, refused := node.Verifier().Verify(t.Context(), header[:len(header)-1]+"x")
	cfg := e.load(fmt.Sprintf(template, e.provider.URL, e.upstream.URL))
	secrets := map[string]string{
		"token": token[len(token)-40:], "header": header[20:60], "text": base64.RawStdEncoding.EncodeToString([]byte(header))[40:80],
		"list": list([]byte(header)[20:40]), "signature": list([]byte(header)[len(header)-40 : len(header)-20]),
	}
	for i, key := range e.privateKeys() {
		secrets[fmt.Sprintf("key %d", i)], secrets[fmt.Sprintf("hexadecimal key %d", i)] = list(key), hex.EncodeToString(key)
		secrets[fmt.Sprintf("key %d as text", i)] = string(key)
	}
	var out strings.Builder
	loggers := []*slog.Logger{
		slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	p, _ := principal.FromContext(ctx)
	e.records() // what is printed must not change meanwhile
	for name, value := range map[string]any{
		"configuration": cfg, "its value": *cfg, "edge": e.server, "node": node, "verifier": node.Verifier(), "propagator": node.Propagator(), "context": ctx,
		"principal": p, "error": refused, "joined errors": errors.Join(refused, refused), "all": []any{cfg, node, ctx},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c"} {
			fmt.Fprintf(&out, name+" "+verb+"\n", value)
		}
		for _, log := range loggers {
			log.Debug("shown", "value", value)
		}
	}
	for name, secret := range secrets {
		if i := strings.Index(out.String(), secret); i >= 0 {
			t.Errorf("%s shows after %q", name, out.String()[max(0, i-300):i])
		}
	}
	if len(secrets) < 8 || out.Len() < 1000 {
		t.Error("too few secrets, or too little was printed", len(secrets), out.Len())
	}
}

// list is how fmt prints bytes.
func list(b []byte) string {
	text := fmt.Sprintf("%d", b)
	return text[1 : len(text)-1]
}

// privateKeys returns the secret parts of the signing keys of the edge.
func (e *edge) privateKeys() [][]byte {
	e.t.Helper()
	files, err := filepath.Glob(filepath.Join(e.dir, "data", "*.pem"))
	if err != nil {
		e.t.Fatal(err)
	}
	var keys [][]byte
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			e.t.Fatal(err)
		}
		block, _ := pem.Decode(data)
		if block == nil {
			continue
		}
		if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
			keys = append(keys, block.Bytes[16:]) // of Ed25519 that is the seed
		}
	}
	if len(keys) == 0 {
		e.t.Fatal("no private key")
	}
	return keys
}

// admitted returns the context that a handler of a service gets.
func admitted(t *testing.T, v *principal.Verifier, header string) context.Context {
	t.Helper()
	guard, err := principal.NewGuard(v, new(principal.Rules).WithMethod("/a.B/C", &principalv1.AccessRule{Kinds: []principalv1.Kind{principalv1.Kind_KIND_HUMAN}}))
	if err != nil {
		t.Fatal(err)
	}
	admission, err := guard.Admit(t.Context(), principal.Call{Procedure: "/a.B/C", Values: []string{header}})
	if err != nil {
		t.Fatal(err)
	}
	return admission.Context
}
