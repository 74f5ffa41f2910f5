package principalgrpc

import (
	"google.golang.org/grpc"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// Check returns an error that names every method registered with srv that has
// no access rule, and would therefore always be refused. Call it when all
// services are registered and before srv serves. Health checking and reflection
// count too: give them a rule with [principal.Rules.WithService].
func Check(srv *grpc.Server, g *principal.Guard) error {
	var methods []string
	for service, info := range srv.GetServiceInfo() {
		for _, m := range info.Methods {
			methods = append(methods, "/"+service+"/"+m.Name)
		}
	}
	return g.CheckMethods(methods)
}
