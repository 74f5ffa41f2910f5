package principalgrpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/onbehalf-dev/onbehalf/interceptors/internal/guard"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// renewal is a call that renews a stream. Whatever the method is, it has no
// messages.
var renewal = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// keep renews a stream for as long as it is open, if its server has granted a
// lease. again makes another call of its method.
func keep(stream grpc.ClientStream, renewer *principal.Renewer, again func(context.Context) (grpc.ClientStream, error)) {
	header, err := stream.Header()
	id := guard.Single(header[principal.LeaseHeaderName])
	if err != nil || id == "" {
		return
	}
	renewer.Run(stream.Context(), func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		answer, err := again(metadata.NewOutgoingContext(ctx, metadata.Pairs(principal.LeaseHeaderName, id)))
		if err != nil {
			return err
		}
		if err := answer.CloseSend(); err != nil {
			return err
		}
		switch err := answer.RecvMsg(new(emptypb.Empty)); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		default:
			return errHandled
		}
	})
}

var errHandled = errors.New("principalgrpc: a renewal was answered with a message")
