package admin

import (
	"errors"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
)

// NewClient returns a client of the admin service that listens at an address,
// host and port. A host that is not given is this machine.
func NewClient(address string, token Token) (bffv1connect.AdminServiceClient, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	client := &http.Client{
		Timeout:       30 * time.Second,
		Transport:     bearer{token: token, next: new(http.Transport)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return bffv1connect.NewAdminServiceClient(connect.NewClient(connecthttp.NewTransport(client, "http://"+net.JoinHostPort(host, port)))), nil
}

// bearer shows the token, and to nobody but this machine.
type bearer struct {
	token Token
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if host := r.URL.Hostname(); host != "localhost" && !fromLoopback(net.JoinHostPort(host, "0")) {
		return nil, errors.New("the admin service is for this machine only; run the command where the edge runs")
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token.text)
	return b.next.RoundTrip(r)
}

// Message returns what the edge said, without the code.
func Message(err error) string {
	if e, ok := errors.AsType[*connect.Error](err); ok {
		return e.Message()
	}
	return err.Error()
}
