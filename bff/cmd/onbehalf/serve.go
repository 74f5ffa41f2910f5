package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/onbehalf-dev/onbehalf/bff"
)

type serve struct {
	configFile

	LogLevel  slog.Level `help:"How much to log: debug, info, warn or error; info unless named." default:"info" placeholder:"LEVEL"`
	LogFormat string     `help:"How to log: text or json; unless named, text on a terminal and json otherwise." enum:"auto,text,json" default:"auto" placeholder:"FORMAT"`
}

// Help is what kong shows below the flags.
func (*serve) Help() string {
	return "The first signal lets requests that are under way end, for as long as limits.drain says; the second ends the process at once. " +
		"The configuration is taken anew when its file changes, and on SIGHUP also with the files that it names; if it is not valid, or what changed needs a restart, the one before stays and the log says why."
}

// Run is called by kong.
func (s *serve) Run() error {
	reloader := &reloader{path: s.Path, log: s.logger()}
	reloader.changed() // before it is read: a change in between is seen later
	cfg, err := bff.LoadConfig(s.Path)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		signal.Stop(signals) // before it is seen to stop: the next one does what it does by default
		stop()
	}()

	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGHUP) // from now on it does not end the process
	if reloader.server, err = bff.New(cfg, bff.WithLogger(reloader.log)); err != nil {
		return err
	}
	warn(reloader.log, cfg)
	go reloader.run(ctx, told)
	return reloader.server.Run(ctx)
}

func (s *serve) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: s.LogLevel}
	if s.LogFormat == "text" || s.LogFormat == "auto" && isTerminal(os.Stderr) {
		return slog.New(slog.NewTextHandler(os.Stderr, options))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, options))
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
