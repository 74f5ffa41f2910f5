package hsm_test

import (
	"context"
	"fmt"

	"github.com/onbehalf-dev/onbehalf/bff/hsm"
	"github.com/onbehalf-dev/onbehalf/principal"
)

func ExampleOpen() {
	vault, err := hsm.Open(hsm.Config{
		Module:     module, // such as /usr/lib/softhsm/libsofthsm2.so
		TokenLabel: "edge",
		PIN:        pin, // or PINFile: "/etc/onbehalf/hsm.pin"
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer vault.Close()

	id, key, err := vault.Create(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	signer, err := principal.NewSigner("https://edge.example", key, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(signer.Key().ID == id)
	// Output: true
}
