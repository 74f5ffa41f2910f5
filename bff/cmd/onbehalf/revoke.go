package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"

	"github.com/onbehalf-dev/onbehalf/bff"
)

// reach is for how long the command waits to tell who has the revocation.
const reach = 2 * time.Second

type revokeCmd struct {
	Identity  revokeIdentity  `cmd:"" help:"End all that an identity takes part in: a person, an agent or a service (hm-…, am-…, svc-…). What it logs in with 30 seconds later is good again."`
	Session   revokeSession   `cmd:"" help:"End one login session, with all that agents do on it."`
	Grant     revokeGrant     `cmd:"" help:"End one delegation, with all below it."`
	Principal revokePrincipal `cmd:"" help:"End one principal, by the id in the audit records."`
	Service   revokeService   `cmd:"" help:"End all that a service has passed on, and its keys. It enrols again only with a new token."`
	List      revokeList      `cmd:"" help:"List what is revoked, the newest first."`
}

// Help is what kong shows below the flags.
func (*revokeCmd) Help() string {
	return "A key is revoked with onbehalf keys revoke. What is revoked stays so; calls and streams under way end too."
}

// revokeFlags are what all kinds of revocations have.
type revokeFlags struct {
	edgeCommand

	Issuer string `help:"Under whose name the id is; the edge's own unless another is named." placeholder:"NAME"`
	Reason string `help:"Why, for the record." placeholder:"TEXT"`
}

func (f *revokeFlags) revoke(stdout io.Writer, target func(issuer string) (revocation.Target, error)) error {
	return f.call(func(ctx context.Context, cfg *bff.Config, edge bffv1connect.AdminServiceClient) error {
		issuer := f.Issuer
		if issuer == "" {
			issuer = cfg.Issuer
		}
		t, err := target(issuer)
		if err != nil {
			return err
		}
		return revoke(ctx, stdout, edge, t, f.Reason)
	})
}

// revoke revokes, and says who has it.
func revoke(ctx context.Context, stdout io.Writer, edge bffv1connect.AdminServiceClient, t revocation.Target, reason string) error {
	done, err := edge.Revoke(ctx, &bffv1.RevokeRequest{Target: t.Proto(), Reason: reason})
	if err != nil {
		return err
	}
	start := time.Now()
	fmt.Fprintf(stdout, "revoked and durable: %s (sequence %d)\n", t, done.GetSequence())
	ctx, cancel := context.WithTimeout(ctx, reach)
	defer cancel()
	for {
		list, err := edge.ListServices(ctx, &bffv1.ListServicesRequest{})
		if err != nil && ctx.Err() == nil {
			return err
		}
		have, missing := 0, ""
		for _, s := range list.GetServices() {
			if s.GetSequence() >= done.GetSequence() {
				have++
			} else if missing == "" {
				missing = s.GetService()
			}
		}
		all := len(list.GetServices())
		if err == nil && all == 0 {
			_, err = fmt.Fprintln(stdout, "no service follows this edge: others accept what was issued before until it expires, after at most 5 minutes")
			return err
		}
		if err == nil && have == all {
			_, err = fmt.Fprintf(stdout, "%d of %d services that follow this edge have it, after %v\n", have, all, time.Since(start).Round(time.Millisecond))
			return err
		}
		select {
		case <-ctx.Done():
			_, err = fmt.Fprintf(stdout, "%d of %d services that follow this edge have it after %v; not yet %s: see onbehalf services\n", have, all, reach, missing)
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type revokeIdentity struct {
	revokeFlags

	ID string `arg:"" help:"Such as hm-6ba7b810-9dad-11d1-80b4-00c04fd430c8, am-helper or svc-billing."`
}

// Run is called by kong.
func (c *revokeIdentity) Run(stdout io.Writer) error {
	return c.revoke(stdout, func(issuer string) (revocation.Target, error) {
		id, err := principal.ParseIdentity(c.ID, issuer)
		return revocation.Identity(id), err
	})
}

type revokeSession struct {
	revokeFlags

	ID string `arg:"" help:"The session in the audit records."`
}

// Run is called by kong.
func (c *revokeSession) Run(stdout io.Writer) error {
	return c.revoke(stdout, issued(revocation.Session, c.ID))
}

type revokeGrant struct {
	revokeFlags

	ID string `arg:"" help:"The grant in the audit records."`
}

// Run is called by kong.
func (c *revokeGrant) Run(stdout io.Writer) error {
	return c.revoke(stdout, issued(revocation.Grant, c.ID))
}

type revokePrincipal struct {
	revokeFlags

	ID string `arg:"" help:"The principal's id in the audit records."`
}

// Run is called by kong.
func (c *revokePrincipal) Run(stdout io.Writer) error {
	return c.revoke(stdout, issued(revocation.Principal, c.ID))
}

func issued(of func(string, principal.ID) revocation.Target, id string) func(string) (revocation.Target, error) {
	return func(issuer string) (revocation.Target, error) {
		parsed, err := principal.ParseID(id)
		return of(issuer, parsed), err
	}
}

type revokeService struct {
	revokeFlags

	Name  string `arg:"" help:"The service's name."`
	Force bool   `help:"Also if this edge does not know of a service of that name."`
}

// Run is called by kong.
func (c *revokeService) Run(stdout io.Writer) error {
	return c.call(func(ctx context.Context, cfg *bff.Config, edge bffv1connect.AdminServiceClient) error {
		if !c.Force {
			if err := c.known(ctx, cfg, edge); err != nil {
				return err
			}
		}
		return revoke(ctx, stdout, edge, revocation.Service(c.Name), c.Reason)
	})
}

// known fails if nothing here has the service's name: to revoke one that is
// misspelt would look like success, and leave the other one as it is.
func (c *revokeService) known(ctx context.Context, cfg *bff.Config, edge bffv1connect.AdminServiceClient) error {
	names := make(map[string]bool)
	for i := range cfg.Services {
		names[cfg.Services[i].Name] = true
	}
	for i := range cfg.Routes {
		names[cfg.Routes[i].Audience] = true
	}
	services, err := edge.ListServices(ctx, &bffv1.ListServicesRequest{})
	if err != nil {
		return err
	}
	for _, s := range services.GetServices() {
		names[s.GetService()] = true
	}
	keys, err := edge.ListKeys(ctx, &bffv1.ListKeysRequest{})
	if err != nil {
		return err
	}
	for _, k := range keys.GetKeys() {
		if k.GetRef().GetRole() == trustv1.KeyRole_KEY_ROLE_LINK {
			names[k.GetRef().GetOwner()] = true
		}
	}
	delete(names, "") // the audience of a route without one
	if names[c.Name] {
		return nil
	}
	return fmt.Errorf("no service %.64q follows this edge, has a key, or is in its configuration; %s; --force revokes that name all the same",
		c.Name, someOf(names))
}

// someOf says which names there are.
func someOf(names map[string]bool) string {
	const most = 10
	sorted := slices.Sorted(maps.Keys(names))
	switch {
	case len(sorted) == 0:
		return "none is known"
	case len(sorted) > most:
		return fmt.Sprintf("known are %s and %d more", strings.Join(sorted[:most], ", "), len(sorted)-most)
	default:
		return "known are " + strings.Join(sorted, ", ")
	}
}

type revokeList struct {
	edgeCommand

	Limit uint32 `help:"At most this many; 20 by default." default:"20" placeholder:"N"`
}

// Run is called by kong.
func (c *revokeList) Run(stdout io.Writer) error {
	return c.call(func(ctx context.Context, _ *bff.Config, edge bffv1connect.AdminServiceClient) error {
		list, err := edge.ListRevocations(ctx, &bffv1.ListRevocationsRequest{Limit: c.Limit})
		if err != nil {
			return err
		}
		if list.GetTotal() == 0 {
			_, err = fmt.Fprintln(stdout, "nothing is revoked")
			return err
		}
		t := newTable(stdout, "WHEN", "WHAT", "WHY")
		for _, r := range list.GetRevocations() {
			target, err := revocation.FromProto(r.GetTarget())
			if err != nil {
				return err
			}
			t.row(when(r.GetTime().AsTime()), target.String(), r.GetReason())
		}
		if err := t.flush(); err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%d of %d\n", len(list.GetRevocations()), list.GetTotal())
		return err
	})
}
