package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"

	"github.com/onbehalf-dev/onbehalf/bff"
	"github.com/onbehalf-dev/onbehalf/bff/internal/admin"
)

// edgeCommand is what the commands have that ask a running edge: they read where
// it is, and the token for it, from its configuration.
type edgeCommand struct {
	configFile
}

// call calls f with a client of the running edge.
func (e *edgeCommand) call(f func(ctx context.Context, cfg *bff.Config, edge bffv1connect.AdminServiceClient) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := bff.LoadConfig(e.Path)
	if err != nil {
		return err
	}
	edge, err := bff.AdminClient(cfg.Listen.Admin, cfg.DataDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("data_dir: %s has no admin token; start the edge with this configuration, and run this where it runs", cfg.DataDir)
	case err != nil:
		return err
	}
	err = f(ctx, cfg, edge)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("the edge of %s does not answer at %s (listen.admin): is it running?", e.Path, cfg.Listen.Admin)
	case err != nil:
		return errors.New(admin.Message(err))
	default:
		return nil
	}
}
