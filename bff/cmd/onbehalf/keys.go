package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
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
		t := newTable(stdout, "KEY", "ROLE", "OWNER", "STATE", "ALGORITHM", "PUBLISHED", "UNTIL", "REPLICA", "EPOCH", "MISSING AT")
		for _, k := range list.GetKeys() {
			epoch, missing := "", ""
			if k.GetEpoch() > 0 {
				epoch = strconv.FormatUint(k.GetEpoch(), 10)
			}
			if k.GetMissing() > 0 {
				missing = fmt.Sprintf("%d services", k.GetMissing())
			}
			t.row(k.GetRef().GetId(), enumWord(k.GetRef().GetRole().String(), "KEY_ROLE_"), k.GetRef().GetOwner(),
				enumWord(k.GetState().String(), "KEY_STATE_"), k.GetAlgorithm(), when(k.GetPublished().AsTime()), when(k.GetExpires().AsTime()),
				fmt.Sprintf("%.8s", k.GetReplica()), epoch, missing)
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
	ID string `arg:"" help:"The key's id, as onbehalf keys lists it."`
	edgeCommand
	Service string `help:"Whose link key it is; the edge's own unless a service is named." placeholder:"NAME"`
	Reason  string `help:"Why, for the record." placeholder:"TEXT"`
}

// Run is called by kong.
func (c *keysRevoke) Run(stdout io.Writer) error {
	return c.call(func(ctx context.Context, cfg *bff.Config, edge bffv1connect.AdminServiceClient) error {
		ref := principal.KeyRef{Role: principal.RoleAuthority, Owner: cfg.Issuer, ID: c.ID}
		if c.Service != "" {
			ref = principal.KeyRef{Role: principal.RoleLink, Owner: c.Service, ID: c.ID}
		}
		return revoke(ctx, stdout, edge, revocation.Key(ref), c.Reason)
	})
}
