package oidc_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

func ExampleNew() {
	provider := newLocalIDP("")
	server := httptest.NewServer(provider)
	defer server.Close()
	provider.url = server.URL

	authenticator, err := oidc.New(context.Background(), []oidc.Issuer{{
		Issuer:   server.URL,
		Audience: []string{"https://api.example"},
		Kinds: []oidc.KindRule{
			{Kind: oidc.KindService, When: oidc.Condition{Claim: "kind", Equals: "service"}},
			{Kind: oidc.KindHuman, When: oidc.Condition{Claim: "kind", Equals: "human"}},
		},
		Service: oidc.Service{Claim: "client_id", Names: map[string]string{"0oa1": "billing"}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer authenticator.Close()

	token := provider.token(time.Now(), set("kind", "service"), set("client_id", "0oa1"))
	result, err := authenticator.Authenticate(context.Background(), http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Principal.GetSubject().GetServiceName(), result.Principal.GetScopes())

	token = provider.token(time.Now(), set("kind", "service"), set("client_id", "0oa2"))
	_, err = authenticator.Authenticate(context.Background(), http.Header{"Authorization": {"Bearer " + token}})
	fmt.Println(err)
	// Output:
	// billing [orders:read]
	// authn: claims: client_id is not the name of a service
}
