package keyset_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

// An edge has a key file, made when it is set up, and publishes the public half.
// A service follows it.
func Example() {
	dir, err := os.MkdirTemp("", "edge")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	// The edge.
	path := filepath.Join(dir, "authority.pem")
	if _, err := keyset.CreatePrivateKey(path); err != nil {
		panic(err)
	}
	private, err := keyset.ReadPrivateKey(path)
	if err != nil {
		panic(err)
	}
	signer, err := principal.NewSigner("https://bff.example.com", private, "")
	if err != nil {
		panic(err)
	}
	set, err := keyset.Marshal([]principal.Key{signer.Key()})
	if err != nil {
		panic(err)
	}
	edge := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(set) }))
	defer edge.Close()

	// The service.
	ctx := context.Background()
	keys, err := keyset.NewRemote(ctx, edge.URL, keyset.Trust{
		Issuers:  []string{"https://bff.example.com"},
		Services: []string{"orders", "payments"},
	}, keyset.WithHTTPClient(edge.Client()))
	if err != nil {
		panic(err)
	}
	defer keys.Close()
	if _, err := principal.NewVerifier("ledger", keys); err != nil {
		panic(err)
	}
	key, err := keys.Find(ctx, signer.Key().KeyRef)
	fmt.Println(key.Role, key.Owner, err)
	// Output: authority https://bff.example.com <nil>
}

func ExampleNewStatic() {
	keys, skipped, err := keyset.Parse([]byte(`{"keys":[{"kid":"kPrK_qmxVWa", "kty":"OKP", "crv":"Ed25519",
		"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "alg":"Ed25519", "use":"sig",
		"onb_role":"authority", "onb_owner":"https://bff.example.com"}, {"kid":"old", "kty":"RSA"}]}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(skipped)
	set, err := keyset.NewStatic(keys...)
	if err != nil {
		panic(err)
	}
	_, err = principal.NewVerifier("ledger", set)
	fmt.Println(err)
	// Output:
	// [keyset: key 2 (old): kty is not OKP or EC]
	// <nil>
}

func ExampleReadFile() {
	dir, err := os.MkdirTemp("", "service")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "jwks.json")
	if err := os.WriteFile(path, []byte(`{"keys":[{"kid":"kPrK_qmxVWa", "kty":"OKP", "crv":"Ed25519",
		"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "alg":"Ed25519", "use":"sig",
		"onb_role":"link", "onb_owner":"orders"}]}`), 0o600); err != nil {
		panic(err)
	}

	set, err := keyset.ReadFile(path)
	if err != nil {
		panic(err)
	}
	key, err := set.Find(context.Background(), principal.KeyRef{Role: principal.RoleLink, Owner: "orders", ID: "kPrK_qmxVWa"})
	fmt.Println(key.Public.ID(), err)
	// Output: kPrK_qmxVWa <nil>
}
