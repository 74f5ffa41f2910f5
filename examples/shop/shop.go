// Package shop is the example: three services on three RPC stacks that pass one
// principal on, orders (grpc-go) to payments (Connect) to ledger (Connect v1),
// and catalog, which is plain HTTP and takes relayed principals.
//
// Who may call a method is written beside it in proto/; the packages orders,
// payments and ledger decide what only they can: whose order and whose account
// it is.
package shop

import (
	"context"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// Customer names the subject of the call that ctx belongs to: the one who owns
// orders and pays, also when an agent acts. It includes the subject's issuer, as
// two issuers may give out the same id. There is none in an anonymous call.
func Customer(ctx context.Context) (customer string, ok bool) {
	p, ok := principal.FromContext(ctx)
	if !ok {
		return "", false
	}
	subject := p.Subject()
	return subject.Issuer() + "/" + subject.String(), true
}
