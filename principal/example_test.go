package principal_test

import (
	"context"
	"fmt"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/internal/forge"
)

func ExampleNewVerifier() {
	_, err := principal.NewVerifier("", nil)
	fmt.Println(err)
	// Output: principal: audience "" is not a service name: use 1 to 63 of a-z, 0-9, '.', '-', such as "payments"
}

func ExampleNewGuard() {
	verifier, err := principal.NewVerifier("orders", keySet{i1.Public()})
	if err != nil {
		fmt.Println(err)
		return
	}
	rules := (&principal.Rules{}).WithMethod("/shop.v1.Orders/Place", &principalv1.AccessRule{AllScopes: []string{"orders:write"}})
	guard, err := principal.NewGuard(verifier, rules)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = guard.Admit(context.Background(), principal.Call{Procedure: "/shop.v1.Orders/Place"})
	fmt.Println(principal.ReasonOf(err), principal.ReasonOf(err).Code().Message())
	// Output: missing unauthenticated
}

func ExampleNewSigner() {
	signer, err := principal.NewSigner("https://bff.example", forge.Ed25519Key(principal.RoleAuthority, "", "").Private, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = signer.Sign(&principalv1.Principal{
		Subject: &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "hm-alice"}}, Audience: "orders", IssuedAt: 1, ExpiresAt: 2,
	})
	fmt.Println(err)
	// Output: principal: subject: starts with the prefix of an id
}

func ExampleNewPropagator() {
	propagator, err := principal.NewPropagator() // relays only
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = propagator.Header(context.Background(), "payments", "")
	fmt.Println(err)
	// Output: principal: no principal in the context: pass on the context of the handler, or act as the service with trust.Node.AsService
}

func ExampleIsAlias() {
	fmt.Println(principal.IsAlias("X_Principal_Bin"), principal.IsAlias("Grpc-Metadata-x.principal.bin"), principal.IsAlias("X-Print"))
	// Output: true true false
}
