package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

const (
	echoService  = "soak.v1.Echo"
	echoAudience = "echo"
	unaryMethod  = "/" + echoService + "/Unary"
	bidiMethod   = "/" + echoService + "/Bidi"
	numberHeader = "X-Soak-Number"
	getPattern   = "GET /echo/{user}/{number}"
	postPattern  = "POST /echo/{user}"
	eventPattern = "GET /events/{user}"
	extraPattern = "GET /extra"
)

// eventEvery is how often a stream has a message.
const eventEvery = 250 * time.Millisecond

// echoRules let everybody in. A stream may go on for as long as its user's session,
// which is longer than a principal lives.
func echoRules() *principal.Rules {
	rule := &principalv1.AccessRule{Stream: principalv1.StreamLife_STREAM_LIFE_SESSION}
	rules := (&principal.Rules{}).WithService(echoService, rule)
	for _, pattern := range []string{getPattern, postPattern, eventPattern, extraPattern} {
		rules = rules.WithMethod(pattern, rule)
	}
	return rules
}

// seen is what an instance answers: whom the verified principal is of, and the
// numbers of the call, which come by two ways.
func seen(ctx context.Context, header, message string) string {
	p, ok := principal.FromContext(ctx)
	switch {
	case !ok:
		return "nobody " + message
	case header != message:
		return fmt.Sprintf("%s header %.20q message %.20q", p.Subject(), header, message)
	default:
		return p.Subject().String() + " " + message
	}
}

// answerTo is what seen says if nothing is mixed up.
func answerTo(user, number string) string { return "hm-" + user + " " + number }

func echoPlain() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc(getPattern, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, seen(r.Context(), r.Header.Get(numberHeader), r.PathValue("number")))
	})
	mux.HandleFunc(postPattern, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		if err != nil {
			return
		}
		_, _ = io.WriteString(w, seen(r.Context(), r.Header.Get(numberHeader), string(body)))
	})
	mux.HandleFunc(extraPattern, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, seen(r.Context(), "", ""))
	})
	mux.HandleFunc(eventPattern, serveEvents)
	return mux
}

// serveEvents sends a line at intervals: whom it sees, which line it is, when.
func serveEvents(w http.ResponseWriter, r *http.Request) {
	ticker := time.NewTicker(eventEvery)
	defer ticker.Stop()
	for n := 0; ; n++ {
		number := fmt.Sprint(n)
		_, err := fmt.Fprintf(w, "%s %d\n", seen(r.Context(), number, number), time.Now().UnixNano())
		if err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

var echoGRPC = grpc.ServiceDesc{
	ServiceName: echoService,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(srv any, ctx context.Context, dec func(any) error, around grpc.UnaryServerInterceptor) (any, error) {
		var in wrapperspb.StringValue
		if err := dec(&in); err != nil {
			return nil, err
		}
		return around(ctx, &in, &grpc.UnaryServerInfo{Server: srv, FullMethod: unaryMethod}, func(ctx context.Context, _ any) (any, error) {
			return wrapperspb.String(seen(ctx, grpcNumber(ctx), in.GetValue())), nil
		})
	}}},
	Streams: []grpc.StreamDesc{{StreamName: "Bidi", ServerStreams: true, ClientStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
		for {
			var in wrapperspb.StringValue
			if err := stream.RecvMsg(&in); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.SendMsg(wrapperspb.String(seen(stream.Context(), in.GetValue(), in.GetValue()))); err != nil {
				return err
			}
		}
	}}},
}

func grpcNumber(ctx context.Context) string {
	if all := metadata.ValueFromIncomingContext(ctx, numberHeader); len(all) == 1 {
		return all[0]
	}
	return ""
}

var (
	unarySpec = connect.Spec{Procedure: unaryMethod, StreamType: connect.StreamTypeUnary}
	bidiSpec  = connect.Spec{Procedure: bidiMethod, StreamType: connect.StreamTypeBidi}
)

var echoConnect = []connect.Method{
	{Spec: unarySpec, Handler: func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
		var in wrapperspb.StringValue
		if err := stream.Receive(&in); err != nil {
			return err
		}
		info, _ := connect.CallInfoForServerContext(ctx)
		return stream.Send(wrapperspb.String(seen(ctx, info.RequestHeader().Get(numberHeader), in.GetValue())))
	}},
	{Spec: bidiSpec, Handler: func(ctx context.Context, _ connect.Spec, stream connect.ServerStream) error {
		for {
			var in wrapperspb.StringValue
			if err := stream.Receive(&in); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.Send(wrapperspb.String(seen(ctx, in.GetValue(), in.GetValue()))); err != nil {
				return err
			}
		}
	}},
}
