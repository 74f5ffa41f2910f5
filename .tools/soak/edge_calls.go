package main

import (
	"context"
	"fmt"
	"net/http"

	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// kind is one way to make a call.
type kind struct {
	name, group string
	do          callFunc
}

// callFunc makes one. It returns mixedUp if the answer is for another user or another
// call.
type callFunc func(ctx context.Context, c *caller, u *user, number string) error

// kinds are all ways. Those to instances that are killed are fewer, so that most
// of the load must not fail.
var kinds = []kind{
	{"HTTP/1.1 GET", calm, getPlain(false, calm)},
	{"HTTP/1.1 POST", calm, postPlain(false, calm)},
	{"HTTP/2 GET", calm, getPlain(true, calm)},
	{"HTTP/2 POST", calm, postPlain(true, calm)},
	{"gRPC", calm, unaryGRPC(calm)},
	{"gRPC stream", calm, bidiGRPC},
	{"Connect, HTTP/1.1 to HTTP/1.1", calm, unaryConnect(false, calm+"-old")},
	{"Connect, HTTP/1.1 to HTTP/2", calm, unaryConnect(false, calm+"-connect")},
	{"Connect, HTTP/2", calm, unaryConnect(true, calm+"-connect")},
	{"Connect stream", calm, bidiConnect},
	{"gRPC-Web, HTTP/1.1", calm, unaryConnect(false, calm+"-old", connecthttp.WithGRPCWeb())},
	{"gRPC-Web, HTTP/2", calm, unaryConnect(true, calm+"-connect", connecthttp.WithGRPCWeb())},
	{"HTTP/1.1 GET, to killed ones", killed, getPlain(false, killed)},
	{"gRPC, to killed ones", killed, unaryGRPC(killed)},
	{"Connect, to killed ones", killed, unaryConnect(true, killed+"-connect")},
}

func getPlain(second bool, group string) callFunc {
	return func(ctx context.Context, c *caller, u *user, number string) error {
		r, err := c.request(ctx, http.MethodGet, group+"-plain", "/echo/"+u.name+"/"+number, "", u)
		if err != nil {
			return err
		}
		return c.plain(second, r, u, number)
	}
}

func postPlain(second bool, group string) callFunc {
	return func(ctx context.Context, c *caller, u *user, number string) error {
		r, err := c.request(ctx, http.MethodPost, group+"-plain", "/echo/"+u.name, number, u)
		if err != nil {
			return err
		}
		return c.plain(second, r, u, number)
	}
}

func (c *caller) plain(second bool, r *http.Request, u *user, number string) error {
	r.Header.Set(numberHeader, number)
	got, err := c.text(c.client(second), r)
	if err != nil {
		return err
	}
	return same(answerTo(u.name, number), got)
}

func unaryGRPC(group string) callFunc {
	return func(ctx context.Context, c *caller, u *user, number string) error {
		c.made.Add(1)
		var out wrapperspb.StringValue
		if err := c.rpc[group+"-grpc"].Invoke(withGRPC(ctx, u, number), unaryMethod, wrapperspb.String(number), &out); err != nil {
			return err
		}
		return same(answerTo(u.name, number), out.GetValue())
	}
}

func unaryConnect(second bool, host string, opts ...connecthttp.Option) callFunc {
	return func(ctx context.Context, c *caller, u *user, number string) error {
		c.made.Add(1)
		var out wrapperspb.StringValue
		if err := c.connect(c.client(second), host, opts...).CallUnary(withConnect(ctx, u, number), unarySpec, wrapperspb.String(number), &out); err != nil {
			return err
		}
		return same(answerTo(u.name, number), out.GetValue())
	}
}

func bidiGRPC(ctx context.Context, c *caller, u *user, number string) error {
	t, err := c.talkGRPC(ctx, calm+"-grpc", u)
	if err != nil {
		return err
	}
	return converse(t, u, number)
}

func bidiConnect(ctx context.Context, c *caller, u *user, number string) error {
	t, err := c.talkConnect(ctx, calm+"-connect", u)
	if err != nil {
		return err
	}
	return converse(t, u, number)
}

// converse says three things.
func converse(t talk, u *user, number string) error {
	for part := range 3 {
		text := fmt.Sprintf("%s.%d", number, part)
		got, err := t.say(text)
		if err != nil {
			return err
		}
		if err := same(answerTo(u.name, text), got); err != nil {
			return err
		}
	}
	return t.end()
}
