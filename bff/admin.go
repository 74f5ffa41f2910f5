package bff

import (
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"

	"github.com/onbehalf-dev/onbehalf/bff/internal/admin"
)

// AdminClient returns a client of the admin service of an edge on this machine,
// by the address of its admin listener. It shows the token in dataDir, which only
// the user who runs the edge can read.
func AdminClient(address, dataDir string) (bffv1connect.AdminServiceClient, error) {
	token, err := admin.ReadToken(dataDir)
	if err != nil {
		return nil, err
	}
	return admin.NewClient(address, token)
}
