package principalgrpc

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
)

// heldTrailer keeps the trailers of a handler until it is certain that its
// caller may have them. What has been given to grpc-go cannot be taken back.
type heldTrailer struct {
	grpc.ServerTransportStream

	life *guard.Life

	mu      sync.Mutex
	trailer metadata.MD
}

// holdTrailer also covers handlers that reach the stream by their context.
func holdTrailer(ctx context.Context, life *guard.Life) (context.Context, *heldTrailer) {
	stream := grpc.ServerTransportStreamFromContext(ctx)
	if stream == nil {
		return ctx, nil
	}
	h := &heldTrailer{ServerTransportStream: stream, life: life}
	return grpc.NewContextWithServerTransportStream(ctx, h), h
}

// release lets the trailers go.
func (h *heldTrailer) release() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.trailer != nil {
		_ = h.ServerTransportStream.SetTrailer(h.trailer) // fails only where there is no stream to end
	}
}

func (h *heldTrailer) SetTrailer(md metadata.MD) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trailer = metadata.Join(h.trailer, md)
	return nil
}

func (h *heldTrailer) SetHeader(md metadata.MD) error {
	if h.life.Ended() {
		return statusOf(h.life.Code())
	}
	return h.ServerTransportStream.SetHeader(md)
}

func (h *heldTrailer) SendHeader(md metadata.MD) error {
	if h.life.Ended() {
		return statusOf(h.life.Code())
	}
	return h.ServerTransportStream.SendHeader(md)
}
