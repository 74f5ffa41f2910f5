// Command provider runs the OpenID provider of the examples until it is
// interrupted. See package provider for what it does not protect against.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/go-jose/go-jose/v4"

	"github.com/onbehalf-dev/onbehalf/examples/provider"
)

func main() {
	var o provider.Options
	flag.StringVar(&o.Listen, "listen", "127.0.0.1:9400", "loopback address")
	flag.StringVar(&o.Issuer, "issuer", "", "issuer URL (default the address)")
	flag.StringVar(&o.Audience, "audience", "", `aud of access tokens (default "shop")`)
	flag.Func("alg", "RS256, ES256 or EdDSA; repeatable, the first one signs (default all)", func(s string) error {
		o.Algorithms = append(o.Algorithms, jose.SignatureAlgorithm(s))
		return nil
	})
	flag.Func("redirect", "redirect URI of the client web; repeatable", func(s string) error {
		o.RedirectURIs = append(o.RedirectURIs, s)
		return nil
	})
	flag.Parse()
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o provider.Options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := provider.Start(ctx, o)
	if err != nil {
		return err
	}
	fmt.Print(strings.ReplaceAll(`issuer  URL
        URL/.well-known/openid-configuration
a token of alice, and one of the agent that acts for her:
        curl -d user=alice -d scope=orders:read URL/dev/token
        curl -d user=alice -d client=shopping-agent -d act=shopping-agent -d scope=orders:read URL/dev/token
`, "URL", p.URL()))
	<-ctx.Done()
	return p.Close()
}
