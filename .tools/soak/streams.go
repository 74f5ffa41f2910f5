package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// streams is a server with streams that go on for ever.
type streams struct {
	server *grpc.Server
	conn   *grpc.ClientConn
	failed chan error
}

func newStreams(g *principal.Guard) (*streams, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	x := &streams{server: grpc.NewServer(principalgrpc.ServerOptions(g)...), failed: make(chan error, 1<<12)}
	grpc_health_v1.RegisterHealthServer(x.server, health.NewServer())
	go func() { _ = x.server.Serve(l) }()
	x.conn, err = grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	return x, err
}

// open opens one, and tells when the caller sees its end.
func (x *streams) open(header string, ended chan<- int64) error {
	ctx := metadata.AppendToOutgoingContext(context.Background(), principal.HeaderName, header)
	stream, err := grpc_health_v1.NewHealthClient(x.conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if _, err := stream.Recv(); err != nil { // it serves
		return err
	}
	go func() {
		_, err := stream.Recv()
		if status.Code(err) != codes.Unauthenticated {
			x.failed <- err
			return
		}
		ended <- time.Now().UnixNano()
	}()
	return nil
}

func (s *services) streamsBegin(r *http.Request) (any, error) {
	var args struct{ N int }
	if err := json.NewDecoder(r.Body).Decode(&args); err != nil {
		return nil, err
	}
	if s.streams == nil {
		var err error
		if s.streams, err = newStreams(s.members[0].guard); err != nil {
			return nil, err
		}
	}
	s.user = r.FormValue("user")
	text, err := s.principalOf(r.Context(), s.user)
	if err != nil {
		return nil, err
	}
	header, err := decode(text)
	if err != nil {
		return nil, err
	}
	for range args.N {
		if err := s.streams.open(header, s.ended); err != nil {
			return nil, err
		}
	}
	s.want = args.N
	runtime.GC()
	return map[string]string{"Session": sessionOf(s.user).String()}, nil
}

func (s *services) streamsEnd(r *http.Request) (any, error) {
	out, err := s.collect(r)
	select {
	case failed := <-s.streams.failed:
		return nil, failed
	default:
		return out, err
	}
}
