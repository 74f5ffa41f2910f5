package principal_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

const vectorDir = "testdata/vectors"

// U03: the golden vectors, which the second verifier runs as well.
func TestU03Vectors(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil || len(files) < 50 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			runVector(t, string(text))
		})
	}
}

// vector is a parsed vector file.
type vector struct {
	now         int64
	audience    string
	trustDomain string
	keys        keySet
	mayName     [][2]string
	binding     string
	peer        string
	headers     []string
	expect      string
	details     map[string]string
}

func runVector(t *testing.T, text string) {
	t.Helper()
	v := parseVector(t, text)
	opts := []principal.VerifierOption{principal.WithClock(func() time.Time { return time.Unix(v.now, 0) })}
	if v.trustDomain != "" {
		opts = append(opts, principal.AcceptRelay(v.trustDomain))
	}
	for _, m := range v.mayName {
		opts = append(opts, principal.WithIdentityIssuers(m[0], m[1]))
	}
	if v.binding == "mtls" {
		opts = append(opts, principal.WithMTLS("td.example", nil))
	}
	verifier, err := principal.NewVerifier(v.audience, v.keys, opts...)
	if err != nil {
		t.Fatal(err)
	}
	const method = "/vector/Call"
	rules := (&principal.Rules{}).WithMethod(method, &principalv1.AccessRule{Kinds: []principalv1.Kind{1, 2, 3}})
	guard, err := principal.NewGuard(verifier, rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, pass := range []string{"cold", "cached"} { // both passes must agree
		a, err := guard.Admit(t.Context(), principal.Call{Procedure: method, Values: v.headers, Text: true, TLS: peerState(v.peer)})
		got := "accept"
		if err != nil {
			got = principal.ReasonOf(err).String()
		}
		if got != v.expect {
			t.Fatalf("%s: got %s (%v), want %s", pass, got, err, v.expect)
		}
		if err != nil {
			if a.Principal != nil || a.Context != nil {
				t.Fatal("an error came with a principal")
			}
			continue
		}
		for name, want := range v.details {
			if got := detail(t, name, a.Principal); got != want {
				t.Errorf("%s: %s: got %q, want %q", pass, name, got, want)
			}
		}
	}
}

func detail(t *testing.T, name string, p *principal.Principal) string {
	t.Helper()
	switch name {
	case "mode":
		if p.Relay() {
			return "relay"
		}
		return "linked"
	case "subject":
		return p.Subject().String()
	case "actor":
		return p.Actor().String()
	case "scopes":
		return strings.Join(p.Scopes(), " ")
	case "roles":
		return strings.Join(p.Roles(), " ")
	case "path":
		return strings.Join(p.Path(), " ")
	case "delegations":
		var actors []string
		for _, d := range p.Delegations() {
			actors = append(actors, d.Actor.String())
		}
		return strings.Join(actors, " ")
	default:
		t.Fatalf("unknown detail %q", name)
		return ""
	}
}

// peerState is what a server knows of a client certificate with a SPIFFE ID.
func peerState(service string) *tls.ConnectionState {
	if service == "" {
		return nil
	}
	leaf := &x509.Certificate{URIs: []*url.URL{{Scheme: "spiffe", Host: "td.example", Path: "/" + service}}}
	return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
}

func parseVector(t *testing.T, text string) vector {
	t.Helper()
	v := vector{details: map[string]string{}}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			t.Fatalf("bad line %q", line)
		}
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "about", "covers":
		case "now":
			v.now = number(t, value)
		case "audience":
			v.audience = value
		case "trust-domain":
			v.trustDomain = value
		case "key":
			key, err := parseKey(t, value)
			if err != nil {
				t.Fatal(err)
			}
			v.keys = append(v.keys, key)
		case "bad-key":
			if _, err := parseKey(t, value); err == nil {
				t.Fatalf("loaded %q", value)
			}
		case "may-name":
			issuer, other, _ := strings.Cut(value, " ")
			v.mayName = append(v.mayName, [2]string{issuer, other})
		case "binding":
			v.binding = value
		case "peer":
			v.peer = value
		case "header":
			v.headers = append(v.headers, value)
		case "expect":
			v.expect = value
		default:
			v.details[name] = value
		}
	}
	return v
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func parseKey(t *testing.T, line string) (principal.Key, error) {
	t.Helper()
	f := strings.Split(line, " ")
	coordinate := func(i int) []byte {
		b, err := base64.RawURLEncoding.Strict().DecodeString(f[i])
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	role := map[string]principal.KeyRole{"authority": principal.RoleAuthority, "link": principal.RoleLink}[f[0]]
	key := principal.Key{KeyRef: principal.KeyRef{Role: role, Owner: f[1], ID: f[2]}}
	var rest []string
	var err error
	switch f[3] {
	case "ed25519":
		key.Public, err = principal.NewPublicKey(ed25519.PublicKey(coordinate(4)))
		rest = f[5:]
	case "p256":
		point := slices.Concat([]byte{4}, coordinate(4), coordinate(5))
		var public *ecdsa.PublicKey
		if public, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err == nil {
			key.Public, err = principal.NewPublicKey(public)
		}
		rest = f[6:]
	default:
		t.Fatalf("unknown algorithm %q", f[3])
	}
	if len(rest) == 2 {
		key.NotBefore, key.NotAfter = time.Unix(number(t, rest[0]), 0), time.Unix(number(t, rest[1]), 0)
	}
	return key, err
}

// keySet is a key set from a list.
type keySet []principal.Key

func (s keySet) Find(_ context.Context, ref principal.KeyRef) (*principal.Key, error) {
	if len(s) == 0 {
		return nil, errors.New("no keys")
	}
	for i := range s {
		if s[i].KeyRef == ref {
			return &s[i], nil
		}
	}
	return nil, nil
}

func (keySet) Version() uint64 { return 1 }

func keyLine(k principal.Key) string {
	head := fmt.Sprintf("%s %s %s ", k.Role, k.Owner, k.ID)
	switch public := k.Public.Crypto().(type) {
	case ed25519.PublicKey:
		return head + "ed25519 " + base64.RawURLEncoding.EncodeToString(public)
	case *ecdsa.PublicKey:
		point, _ := public.Bytes()
		return head + "p256 " + base64.RawURLEncoding.EncodeToString(point[1:33]) + " " + base64.RawURLEncoding.EncodeToString(point[33:])
	default:
		panic("unknown key type")
	}
}

// mirrorS replaces the last 32 bytes, s, by n - s.
func mirrorS(signature []byte) []byte {
	s := new(big.Int).SetBytes(signature[32:])
	s.Sub(elliptic.P256().Params().N, s)
	return slices.Concat(signature[:32], s.FillBytes(make([]byte, 32)))
}

// The vectors are append-only: this writes the ones that do not exist yet, when
// ONBEHALF_WRITE_VECTORS is set, and never changes one.
func TestVectorsAreComplete(t *testing.T) {
	t.Parallel()
	for _, d := range vectorDefinitions() {
		path := filepath.Join(vectorDir, d.name+".txt")
		want := d.text()
		got, err := os.ReadFile(path)
		if os.IsNotExist(err) && os.Getenv("ONBEHALF_WRITE_VECTORS") != "" {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: the file differs from its definition (%v)", d.name, err)
		}
	}
}
