package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	bffv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1"
	"github.com/onbehalf-dev/onbehalf/gen/onbehalf/bff/v1/bffv1connect"

	"github.com/onbehalf-dev/onbehalf/bff"
)

type storeCmd struct {
	Check   storeCheck   `cmd:"" help:"Say whether the store of a running edge is as durable as it should be."`
	Backup  storeBackup  `cmd:"" help:"Write all that is in the store of a running edge to a file."`
	Restore storeRestore `cmd:"" help:"Replace what is in the store by a backup. All edges must be stopped."`
}

var errStore = errors.New("the store is not as durable as it should be")

type storeCheck struct {
	edgeCommand
}

// Help is what kong shows below the flags.
func (*storeCheck) Help() string {
	return "It exits with 1 if something is wrong, and with 0 for warnings."
}

// Run is called by kong.
func (c *storeCheck) Run(stdout io.Writer) error {
	return c.call(func(ctx context.Context, _ *bff.Config, edge bffv1connect.AdminServiceClient) error {
		found, err := edge.CheckStore(ctx, &bffv1.CheckStoreRequest{})
		if err != nil {
			return err
		}
		for _, f := range found.GetFindings() {
			fmt.Fprintf(stdout, "%-8s %s\n", enumWord(f.GetSeverity().String(), "SEVERITY_"), printable(f.GetText()))
			if f.GetSeverity() == bffv1.Severity_SEVERITY_ERROR {
				err = errStore
			}
		}
		return err
	})
}

type storeBackup struct {
	edgeCommand

	File string `arg:"" help:"The file to write. It must not exist: no backup is ever replaced."`
}

// Run is called by kong.
func (c *storeBackup) Run(stdout io.Writer) (err error) {
	f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(c.File)) // half a backup is none
		}
	}()
	return c.call(func(ctx context.Context, _ *bff.Config, edge bffv1connect.AdminServiceClient) error {
		stream, err := edge.BackupStore(ctx, &bffv1.BackupStoreRequest{})
		if err != nil {
			return err
		}
		size := 0
		for {
			part, err := stream.Receive()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			n, err := f.Write(part.GetPart())
			if err != nil {
				return err
			}
			size += n
		}
		if err := f.Sync(); err != nil {
			return err
		}
		_, err = fmt.Fprintf(stdout, "%s: %d bytes\n", c.File, size)
		return err
	})
}

// Help is what kong shows below the flags.
func (*storeRestore) Help() string {
	return "What was revoked after the backup was made is forgotten by this, and enrolment tokens that were used since are good once more. " +
		"An edge that keeps its store itself moves what was there to data_dir/store/replaced, until the next restore."
}

type storeRestore struct {
	configFile

	File string `arg:"" help:"The backup." type:"existingfile"`
}

// Run is called by kong.
func (c *storeRestore) Run(stdout io.Writer) error {
	cfg, err := bff.LoadConfig(c.Path)
	if err != nil {
		return err
	}
	f, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if err := bff.RestoreStore(ctx, cfg, f); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("stop the edge first: %w", err)
		}
		return err
	}
	_, err = fmt.Fprintf(stdout, `restored %s
What was revoked after it was made is not known any more: revoke it again.
Enrolment tokens that were used since then are good once more.
Principals issued before now are refused, and made anew by the edge.
`, c.File)
	return err
}
