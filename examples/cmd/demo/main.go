// Command demo runs the whole shop on the loopback interface and makes the calls
// that show what Onbehalf does. It exits with 0 if every call ended as it had
// to. With -keep it stays up and prints commands to try.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/onbehalf-dev/onbehalf/examples/shop/stack"
)

func main() {
	keep := flag.Bool("keep", false, "stay up after the calls, and print commands to try")
	flag.Parse()
	os.Exit(start(*keep, flag.Args()))
}

func start(keep bool, args []string) int {
	if len(args) > 0 {
		fmt.Fprintf(os.Stderr, "demo: it takes no arguments, only -keep; got %q\n", args)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, newScreen(os.Stdout), keep); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		return 1
	}
	return 0
}

var errUnexpected = errors.New("a call did not end as expected")

func run(ctx context.Context, out *screen, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "onbehalf-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var seen decisions
	var wire tap
	options := stack.Options{
		Dir: dir, Observer: &seen, Logger: slog.New(slog.DiscardHandler),
		Wrap: func(next http.RoundTripper) http.RoundTripper { wire.next = next; return &wire },
	}
	if keep {
		options.Public = "127.0.0.1:8080"
	}
	s, err := stack.Start(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	c, err := newCaller(s, &wire, &seen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()

	out.intro(s)
	failed := 0
	for i, scene := range c.scenes() {
		seen.clear()
		answer := scene.call(ctx)
		if !out.scene(i+1, scene, answer, seen.list()) {
			failed++
		}
	}
	out.outro(failed, s.Audit)
	if keep && failed == 0 {
		if err := out.commands(s, dir); err != nil {
			return err
		}
		<-ctx.Done()
	}
	if failed > 0 {
		return errUnexpected
	}
	return nil
}
