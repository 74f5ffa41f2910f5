package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ordersv1 "github.com/onbehalf-dev/onbehalf/examples/shop/gen/shop/orders/v1"
	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

// rotate has the edge change its signing key while alice goes on calling.
func (c *caller) rotate(ctx context.Context) string {
	ctx, err := c.as(ctx, "alice")
	if err != nil {
		return err.Error()
	}
	start := time.Now()
	next, err := c.stack.Admin.RotateKey(ctx, &bffv1.RotateKeyRequest{})
	if err != nil {
		return err.Error()
	}
	calls := 0
	for active := ""; active != next.GetKeyId(); calls++ {
		if _, err := c.orders.ListOrders(ctx, &ordersv1.ListOrdersRequest{}); err != nil {
			return answer(err, "")
		}
		if active, err = c.activeKey(ctx); err != nil {
			return err.Error()
		}
	}
	took := time.Since(start)
	if _, err := c.orders.ListOrders(ctx, &ordersv1.ListOrdersRequest{}); err != nil {
		return answer(err, "")
	}
	return fmt.Sprintf("none of %d calls refused; the next key signs after %.1f ms", calls+1, milliseconds(took))
}

func (c *caller) activeKey(ctx context.Context) (string, error) {
	list, err := c.stack.Admin.ListKeys(ctx, &bffv1.ListKeysRequest{})
	if err != nil {
		return "", err
	}
	for _, k := range list.GetKeys() {
		if k.GetState() == bffv1.KeyState_KEY_STATE_ACTIVE && k.GetEpoch() > 0 {
			return k.GetRef().GetId(), nil
		}
	}
	return "", errors.New("no key is active")
}

// revoke ends alice's session while she watches her orders.
func (c *caller) revoke(ctx context.Context) string {
	ctx, err := c.as(ctx, "alice")
	if err != nil {
		return err.Error()
	}
	stream, err := c.orders.WatchOrders(ctx, &ordersv1.WatchOrdersRequest{})
	if err != nil {
		return err.Error()
	}
	if _, err := stream.Header(); err != nil {
		return answer(err, "")
	}
	p := c.seen.last()
	if p == nil {
		return "nobody watches"
	}
	session, ok := p.SessionID()
	if !ok {
		return "alice has no session"
	}
	ended := make(chan time.Time, 1)
	go func() {
		for err = error(nil); err == nil; {
			_, err = stream.Recv()
		}
		ended <- time.Now()
	}()
	target := revocation.Session(p.Issuer(), session)
	asked := time.Now()
	if _, err := c.stack.Admin.Revoke(ctx, &bffv1.RevokeRequest{Target: target.Proto(), Reason: "demo"}); err != nil {
		return err.Error()
	}
	acknowledged, over := time.Now(), <-ended
	if status.Code(err) != codes.Unauthenticated {
		return answer(err, "the stream ended by itself")
	}
	if _, err := c.orders.ListOrders(ctx, &ordersv1.ListOrdersRequest{}); status.Code(err) != codes.Unauthenticated {
		return answer(err, "her token is still good")
	}
	return fmt.Sprintf("Unauthenticated %.1f ms after the operator asked, who had the answer after %.1f ms; her token ends too",
		milliseconds(over.Sub(asked)), milliseconds(acknowledged.Sub(asked)))
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// last returns the principal of the last call that a service let in.
func (d *decisions) last() *principal.Principal {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.principal
}
