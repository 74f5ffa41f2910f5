package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

// streamEnd is why and when a stream has ended.
type streamEnd struct {
	err error
	at  time.Time
}

// revoke has a user make calls of all kinds and streams, and then no more.
func (x *turmoil) revoke(ctx context.Context, n int) error {
	name := fmt.Sprintf("carol-%d", n)
	u := newUser(name, x.provider.tokenOf("ES256", name))
	for _, k := range kinds {
		if k.group != calm {
			continue
		}
		var mixed mixedUp
		switch err := k.do(ctx, x.caller, u, "1"); {
		case errors.As(err, &mixed):
			return fmt.Errorf("%s before it: %w", k.name, err)
		case err != nil:
			x.failed.add(k.name + " | " + cause(err))
		}
	}
	ends, err := x.follow(ctx, u)
	if err != nil {
		return fmt.Errorf("a stream before it: %w", err)
	}
	id, err := principal.ParseIdentity("hm-"+name, issuer)
	if err != nil {
		return err
	}
	if _, err := x.admin.Revoke(ctx, &bffv1.RevokeRequest{Target: revocation.Identity(id).Proto()}); err != nil {
		return err
	}
	acknowledged := time.Now()
	x.revocations.Add(1)
	for _, k := range kinds {
		if err := k.do(ctx, x.caller, u, "2"); !refused(err) {
			return fmt.Errorf("%s of a revoked user is not refused: %w", k.name, err)
		}
	}
	for range cap(ends) {
		select {
		case e := <-ends:
			if !refused(e.err) {
				return fmt.Errorf("a stream of a revoked user ends otherwise: %w", e.err)
			}
			x.revoked.add(e.at.Sub(acknowledged))
		case <-time.After(10 * revokedWithin):
			return errors.New("a stream of a revoked user goes on")
		}
	}
	return nil
}

// follow opens streams, on which nothing more comes until they end.
func (x *turmoil) follow(ctx context.Context, u *user) (<-chan streamEnd, error) {
	open := []func() (talk, error){
		func() (talk, error) { return x.caller.talkGRPC(ctx, steady+"-grpc", u) },
		func() (talk, error) { return x.caller.talkConnect(ctx, steady+"-connect", u) },
	}
	ends := make(chan streamEnd, len(open))
	for _, one := range open {
		t, err := one()
		if err != nil {
			return nil, err
		}
		got, err := t.say("before")
		if err != nil {
			return nil, err
		}
		if err := same(answerTo(u.name, "before"), got); err != nil {
			return nil, err
		}
		go func() {
			err := t.hear()
			ends <- streamEnd{err, time.Now()}
		}()
	}
	return ends, nil
}
