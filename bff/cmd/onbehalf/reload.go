package main

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"os"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff"
)

// lookEvery is how often the configuration file is looked at. It is read, not
// watched: in Kubernetes it is a symbolic link to one that is replaced.
const lookEvery = 2 * time.Second

// reloader takes the configuration anew when its file changes, or when it is told
// to, for then a file that it names may have changed.
type reloader struct {
	path   string
	server *bff.Server
	log    *slog.Logger
	seen   [sha256.Size]byte
}

func (r *reloader) run(ctx context.Context, told <-chan os.Signal) {
	due := false // it has changed, and is taken when it does no more
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-told:
			due = false
			r.changed()
			r.reload(ctx)
		case <-ticker.C:
			// One that is being written is valid here and there, with less in it.
			if r.changed() {
				due = true
			} else if due {
				due = false
				r.reload(ctx)
			}
		}
	}
}

// changed reports whether the file is another than the last time. One that cannot
// be read is as it was: it may be in the middle of being replaced.
func (r *reloader) changed() bool {
	data, err := os.ReadFile(r.path)
	if err != nil {
		return false
	}
	before := r.seen
	r.seen = sha256.Sum256(data)
	return r.seen != before
}

func (r *reloader) reload(ctx context.Context) {
	cfg, err := bff.LoadConfig(r.path)
	if err == nil {
		err = r.server.Reload(cfg)
	}
	if err != nil {
		r.log.ErrorContext(ctx, "the configuration was not taken: the edge goes on with the one before", "error", err)
		return
	}
	r.log.InfoContext(ctx, "the configuration was taken")
}
