// Package stack starts the whole shop on the loopback interface: the OpenID
// provider, the edge, and four services on four RPC stacks, each with the
// interceptors that a service of yours would have.
package stack

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/examples/provider"
	"github.com/onbehalf-dev/onbehalf/examples/shop/catalog"
	"github.com/onbehalf-dev/onbehalf/examples/shop/ledger"
	"github.com/onbehalf-dev/onbehalf/examples/shop/orders"
	"github.com/onbehalf-dev/onbehalf/examples/shop/payments"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"
	"github.com/onbehalf-dev/onbehalf/principal"
)

const (
	// TrustDomain is the audience of relayed principals.
	TrustDomain = "mesh:shop"

	issuer       = "https://edge.shop.example"
	openingCents = 100_000 // of each customer's account
)

//go:embed onbehalf.yaml.tmpl
var configTemplate string

// Options are the settings of [Start].
type Options struct {
	// Dir is where keys, the configuration and the audit records are written.
	Dir string
	// Logger is for the edge's own messages.
	Logger *slog.Logger
	// Observer is told of every decision in the services; may be nil.
	Observer principal.Observer
	// Public is the edge's public address; "" is any free port.
	Public string
	// Wrap, if set, is put around the transport with which payments calls the
	// ledger, as somebody who listens in on that network would be.
	Wrap func(http.RoundTripper) http.RoundTripper
}

// Stack is the running shop.
type Stack struct {
	Provider *provider.Provider
	// Edge is the URL of the public listener; Orders, Payments, Ledger and Catalog
	// are the services behind it.
	Edge, Orders, Payments, Ledger, Catalog string
	// Config and Audit are files of the edge.
	Config, Audit string
	// Admin does what an operator of the edge can do.
	Admin bffv1connect.AdminServiceClient

	stop context.CancelFunc
	work sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

// Start starts everything and returns when it takes requests. Close stops it.
func Start(ctx context.Context, o Options) (*Stack, error) {
	ctx, stop := context.WithCancel(ctx)
	s := &Stack{stop: stop, Config: filepath.Join(o.Dir, "onbehalf.yaml"), Audit: filepath.Join(o.Dir, "audit.jsonl")}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, o Options) error {
	var err error
	if s.Provider, err = provider.Start(ctx, provider.Options{}); err != nil {
		return err
	}
	var listeners [7]net.Listener
	for i := range listeners {
		address := "127.0.0.1:0"
		if i == 0 && o.Public != "" {
			address = o.Public
		}
		if listeners[i], err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
			return err
		}
	}
	public, mesh, admin := listeners[0], listeners[1], listeners[2]
	atOrders, atPayments, atLedger, atCatalog := listeners[3], listeners[4], listeners[5], listeners[6]
	s.Edge, s.Orders, s.Payments, s.Ledger, s.Catalog = url(public), url(atOrders), url(atPayments), url(atLedger), url(atCatalog)

	if err := s.startEdge(ctx, o, bff.Listeners{Public: public, Mesh: mesh, Admin: admin}); err != nil {
		return err
	}
	return s.startServices(ctx, o, url(mesh), atOrders, atPayments, atLedger, atCatalog)
}

func (s *Stack) startEdge(ctx context.Context, o Options, l bff.Listeners) error {
	config := os.Expand(configTemplate, func(name string) string {
		return map[string]string{
			"PROVIDER": s.Provider.URL(), "ORDERS": "h2c" + s.Orders[len("http"):], "LEDGER": s.Ledger, "CATALOG": s.Catalog,
		}[name]
	})
	if err := os.WriteFile(s.Config, []byte(config), 0o600); err != nil {
		return err
	}
	cfg, err := bff.LoadConfig(s.Config)
	if err != nil {
		return err
	}
	edge, err := bff.New(cfg, bff.WithLogger(o.Logger), bff.WithListeners(l))
	if err != nil {
		return err
	}
	s.run(func() error { return edge.Run(ctx) })
	s.Admin, err = bff.AdminClient(l.Admin.Addr().String(), cfg.DataDir)
	return err
}

func (s *Stack) startServices(ctx context.Context, o Options, mesh string, atOrders, atPayments, atLedger, atCatalog net.Listener) error {
	members := make(map[string]*member)
	for _, name := range []string{"orders", "payments", "ledger", "catalog"} {
		var accepts []principal.VerifierOption
		if name == "catalog" {
			accepts = append(accepts, principal.AcceptRelay(TrustDomain))
		}
		var err error
		if members[name], err = join(ctx, mesh, s.Admin, name, o.Observer, accepts...); err != nil {
			return err
		}
	}
	client := &http.Client{Timeout: 10 * time.Second}
	if o.Wrap != nil {
		client.Transport = o.Wrap(http.DefaultTransport)
	}

	guard, err := members["ledger"].guard(ledger.Rules())
	if err != nil {
		return err
	}
	s.serve(ctx, atLedger, ledger.NewHTTPHandler(guard, openingCents))

	if guard, err = members["payments"].guard(payments.Rules()); err != nil {
		return err
	}
	handler, err := payments.NewHTTPHandler(guard, members["payments"].Propagator(), client, s.Ledger)
	if err != nil {
		return err
	}
	s.serve(ctx, atPayments, handler)

	if guard, err = members["orders"].guard(orders.Rules()); err != nil {
		return err
	}
	srv, err := orders.NewGRPCServer(guard, members["orders"].Propagator(), &http.Client{Timeout: 10 * time.Second}, s.Payments)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, srv.GracefulStop)
	s.run(func() error { return srv.Serve(atOrders) })

	if guard, err = members["catalog"].guard(catalog.Rules(), nil); err != nil {
		return err
	}
	s.serve(ctx, atCatalog, catalog.NewHTTPHandler(guard))
	return nil
}

func url(l net.Listener) string { return "http://" + l.Addr().String() }

func (s *Stack) serve(ctx context.Context, l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	s.run(func() error {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("%s: %w", l.Addr(), err)
		}
		return nil
	})
}

func (s *Stack) run(f func() error) {
	s.work.Go(func() {
		if err := f(); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.errs = append(s.errs, err)
		}
	})
}

// Close stops everything and returns what went wrong meanwhile.
func (s *Stack) Close() error {
	s.stop()
	s.work.Wait()
	if s.Provider != nil {
		s.errs = append(s.errs, s.Provider.Close())
	}
	return errors.Join(s.errs...)
}
