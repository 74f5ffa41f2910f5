package bff

import (
	"context"
	"sync"

	"github.com/onbehalf-dev/onbehalf/bff/internal/mint"
	"github.com/onbehalf-dev/onbehalf/bff/internal/proxy"
)

// held are the requests under way that go on only for as long as what was minted
// for them is not revoked. The zero value is usable.
type held struct {
	mu   sync.Mutex
	last uint64
	by   map[uint64]holding
}

type holding struct {
	minted *mint.Minted
	cancel context.CancelCauseFunc
}

// hold returns a context that ends with [proxy.ErrEnded] when minted is revoked,
// and what to call when the request has ended.
func (h *held) hold(ctx context.Context, minted *mint.Minted, known mint.Revocations) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	h.mu.Lock()
	h.last++
	id := h.last
	if h.by == nil {
		h.by = make(map[uint64]holding)
	}
	h.by[id] = holding{minted, cancel}
	h.mu.Unlock()
	if minted.Revoked(known) { // between its minting and now
		cancel(proxy.ErrEnded)
	}
	return ctx, func() {
		h.mu.Lock()
		delete(h.by, id)
		h.mu.Unlock()
		cancel(nil)
	}
}

// review ends the requests whose principal is revoked now.
func (h *held) review(known mint.Revocations) {
	h.mu.Lock()
	all := make([]holding, 0, len(h.by))
	for _, one := range h.by {
		all = append(all, one)
	}
	h.mu.Unlock()
	for _, one := range all {
		if one.minted.Revoked(known) {
			one.cancel(proxy.ErrEnded)
		}
	}
}
