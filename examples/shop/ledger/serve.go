package ledger

import (
	"net/http"

	ledgerv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1"
	"github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/ledger/v1/ledgerv1connect"
	"github.com/onbehalf-dev/onbehalf/interceptors/principalconnect/connectv1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// Rules are the access rules in ledger.proto.
func Rules() (*principal.Rules, error) {
	return principal.RulesFromProto(ledgerv1.File_shop_ledger_v1_ledger_proto)
}

// NewHTTPHandler returns the service, with every method under its rule. An
// account is opened with openingCents.
func NewHTTPHandler(guard *principal.Guard, openingCents int64) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(ledgerv1connect.NewLedgerServiceHandler(NewHandler(NewBook(openingCents))))
	return connectv1.NewMiddleware(guard).Wrap(mux)
}
