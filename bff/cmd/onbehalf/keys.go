package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff"
)

type keysCmd struct {
	List   keysList   `cmd:"" default:"withargs" help:"List the keys that are published: the edges' and the services'."`
	Rotate keysRotate `cmd:"" help:"Publish the edge's next key now; it signs as soon as all services have it."`
	Revoke keysRevoke `cmd:"" help:"Revoke a key that somebody else may know. The edge signs with another one at once."`
}

type keysList struct {
	edgeCommand
}

// Run is called by kong.
func (c *keysList) Run(stdout io.Writer) error {
	return c.call(func(ctx context.Context, _ *bff.Config, edge bffv1connect.AdminServiceClient) error {
		list, err := edge.ListKeys(ctx, &bffv1.ListKeysRequest{})
		if err != nil {
			return err
		}
		t := newTable(stdout, "KEY", "ROLE", "OWNER", "STATE", "PUBLISHED", "UNTIL", "REPLICA", "MISSING AT")
		for _, k := range list.GetKeys() {
			missing := ""
			if k.GetMissing() > 0 {
				missing = fmt.Sprintf("%d services", k.GetMissing())
			}
			t.row(k.GetRef().GetId(), enumWord(k.GetRef().GetRole().String(), "KEY_ROLE_"), k.GetRef().GetOwner(),
				enumWord(k.GetState().String(), "KEY_STATE_"), when(k.GetPublished().AsTime()), when(k.GetExpires().AsTime()),
				fmt.Sprintf("%.8s", k.GetReplica()), missing)
		}
		return t.flush()
	})
}

func enumWord(name, prefix string) string {
	if name = strings.ToLower(strings.TrimPrefix(name, prefix)); name != "unspecified" {
		return name
	}
	return ""
}

type keysRotate struct {
	edgeCommand
}

// Run is called by kong.
func (c *keysRotate) Run(stdout io.Writer) error {
	return c.call(func(ctx context.Context, _ *bff.Config, edge bffv1connect.AdminServiceClient) error {
		next, err := edge.RotateKey(ctx, &bffv1.RotateKeyRequest{})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "published: %s; it signs as soon as all services have it: see onbehalf keys\n", next.GetKeyId())
		return err
	})
}

type keysRevoke struct {
	edgeCommand

	ID      string `arg:"" help:"The key's id, as onbehalf keys lists it; write -- before one that begins with a hyphen."`
	Service string `help:"Whose link key it is, where several keys have the same id." placeholder:"NAME"`
	Reason  string `help:"Why, for the record." placeholder:"TEXT"`
}

// Run is called by kong.
func (c *keysRevoke) Run(stdout io.Writer) error {
	return c.call(func(ctx context.Context, _ *bff.Config, edge bffv1connect.AdminServiceClient) error {
		ref, err := c.find(ctx, edge)
		if err != nil {
			return err
		}
		return revoke(ctx, stdout, edge, revocation.Key(ref), c.Reason)
	})
}

// find returns the one published key that has the id: to revoke what is not there
// would look like success.
func (c *keysRevoke) find(ctx context.Context, edge bffv1connect.AdminServiceClient) (principal.KeyRef, error) {
	list, err := edge.ListKeys(ctx, &bffv1.ListKeysRequest{})
	if err != nil {
		return principal.KeyRef{}, err
	}
	var found []principal.KeyRef
	for _, k := range list.GetKeys() {
		ref := principal.KeyRef{Role: principal.RoleAuthority, Owner: k.GetRef().GetOwner(), ID: k.GetRef().GetId()}
		if k.GetRef().GetRole() == trustv1.KeyRole_KEY_ROLE_LINK {
			ref.Role = principal.RoleLink
		}
		if ref.ID == c.ID && (c.Service == "" || ref.Role == principal.RoleLink && ref.Owner == c.Service) {
			found = append(found, ref)
		}
	}
	switch len(found) {
	case 0:
		return principal.KeyRef{}, fmt.Errorf("no published key has the id %.64q; onbehalf keys lists them", c.ID)
	case 1:
		return found[0], nil
	default:
		return principal.KeyRef{}, fmt.Errorf("several keys have the id %.64q; name the service with --service", c.ID)
	}
}
