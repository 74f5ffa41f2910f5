package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// user is one on whose behalf calls are made.
type user struct {
	name  string
	token atomic.Pointer[string]
}

func newUser(name, token string) *user {
	u := &user{name: name}
	u.token.Store(&token)
	return u
}

func (u *user) bearer() string { return "Bearer " + *u.token.Load() }

// caller has connections to the edge, each of which all users share.
type caller struct {
	edge     string
	old, new *http.Client // HTTP/1.1 and HTTP/2
	rpc      map[string]*grpc.ClientConn
	made     atomic.Int64 // requests
}

func newCaller(edge string, conns int) (*caller, error) {
	c := &caller{edge: edge, rpc: make(map[string]*grpc.ClientConn)}
	c.old = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: conns, MaxConnsPerHost: conns, DisableCompression: true}}
	second := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	second.Protocols.SetUnencryptedHTTP2(true)
	c.new = &http.Client{Transport: second}
	for _, group := range []string{calm, killed, steady} {
		host := group + "-grpc"
		conn, err := grpc.NewClient("passthrough:///"+edge, grpc.WithAuthority(host), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		c.rpc[host] = conn
	}
	return c, nil
}

// client is that of HTTP/2 if second is set, otherwise that of HTTP/1.1.
func (c *caller) client(second bool) *http.Client {
	if second {
		return c.new
	}
	return c.old
}

func (c *caller) close() {
	c.old.CloseIdleConnections()
	c.new.CloseIdleConnections()
	for _, conn := range c.rpc {
		_ = conn.Close()
	}
}

// statusError is an answer other than 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("HTTP %d", int(e)) }

// mixedUp is the worst that an edge can do.
type mixedUp struct{ want, got string }

func (e mixedUp) Error() string { return fmt.Sprintf("wanted %q and got %.100q", e.want, e.got) }

func same(want, got string) error {
	if want != got {
		return mixedUp{want, got}
	}
	return nil
}

// request returns one for a host of the edge.
func (c *caller) request(ctx context.Context, method, host, path, body string, u *user) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.edge+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Host = host
	r.Header.Set("Authorization", u.bearer())
	return r, nil
}

func (c *caller) text(client *http.Client, r *http.Request) (string, error) {
	c.made.Add(1)
	res, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err == nil && res.StatusCode != http.StatusOK {
		err = statusError(res.StatusCode)
	}
	return string(text), err
}

// asHost is a client whose requests are for another host than they are sent to.
type asHost struct {
	client *http.Client
	host   string
}

func (h asHost) Do(r *http.Request) (*http.Response, error) {
	r.Host = h.host
	return h.client.Do(r)
}

func (c *caller) connect(client *http.Client, host string, opts ...connecthttp.Option) *connect.Client {
	return connect.NewClient(connecthttp.NewTransport(asHost{client, host}, "http://"+c.edge, opts...))
}

func withConnect(ctx context.Context, u *user, number string) context.Context {
	ctx, info := connect.NewClientContext(ctx)
	info.RequestHeader().Set("Authorization", u.bearer())
	info.RequestHeader().Set(numberHeader, number)
	return ctx
}

func withGRPC(ctx context.Context, u *user, number string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", u.bearer(), numberHeader, number)
}

// talk is a stream both ways.
type talk interface {
	say(text string) (answer string, err error)
	hear() error // what comes without being asked for; nil if that is a message
	end() error  // nil if the other side ends as well
}

type grpcTalk struct{ grpc.ClientStream }

func (c *caller) talkGRPC(ctx context.Context, host string, u *user) (talk, error) {
	c.made.Add(1)
	s, err := c.rpc[host].NewStream(withGRPC(ctx, u, ""), &echoGRPC.Streams[0], bidiMethod)
	return grpcTalk{s}, err
}

func (t grpcTalk) say(text string) (string, error) {
	if err := t.SendMsg(wrapperspb.String(text)); err != nil && !errors.Is(err, io.EOF) { // then receiving says why
		return "", err
	}
	var out wrapperspb.StringValue
	err := t.RecvMsg(&out)
	return out.GetValue(), err
}

func (t grpcTalk) hear() error { return t.RecvMsg(new(wrapperspb.StringValue)) }

func (t grpcTalk) end() error {
	if err := t.CloseSend(); err != nil {
		return err
	}
	return ended(t.hear())
}

type connectTalk struct{ connect.ClientStream }

func (c *caller) talkConnect(ctx context.Context, host string, u *user, opts ...connecthttp.Option) (talk, error) {
	c.made.Add(1)
	s, err := c.connect(c.new, host, opts...).CallClientStream(withConnect(ctx, u, ""), bidiSpec)
	return connectTalk{s}, err
}

func (t connectTalk) say(text string) (string, error) {
	if err := t.Send(wrapperspb.String(text)); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	var out wrapperspb.StringValue
	err := t.Receive(&out)
	return out.GetValue(), err
}

func (t connectTalk) hear() error { return t.Receive(new(wrapperspb.StringValue)) }

func (t connectTalk) end() error {
	if err := t.CloseSend(); err != nil {
		return err
	}
	return errors.Join(ended(t.hear()), t.Close())
}

func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		return errors.New("a message that nobody asked for")
	}
	return err
}

// refused reports whether an error is that of a credential which is not good.
func refused(err error) bool {
	var plain statusError
	var rpc *connect.Error
	switch {
	case errors.As(err, &plain):
		return plain == http.StatusUnauthorized
	case errors.As(err, &rpc):
		return rpc.Code() == connect.CodeUnauthenticated
	default:
		return status.Code(err) == codes.Unauthenticated
	}
}

// cause is what an error is counted as: without what differs from one to the next.
func cause(err error) string {
	var plain statusError
	var rpc *connect.Error
	var op *net.OpError
	switch {
	case errors.As(err, &plain):
		return plain.Error()
	case errors.As(err, &rpc):
		return "Connect " + rpc.Code().String()
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	if s, ok := status.FromError(err); ok {
		return "gRPC " + s.Code().String()
	}
	return fmt.Sprintf("%.120s", err)
}
