// Command soak runs an edge and up to a thousand services that follow it, each
// in a process of its own, and prints how rotation and revocation hold against
// their bounds. With -proxies it compares the edge with a plain reverse proxy
// instead. With -edge it has an edge under load while its services are replaced
// and killed, its configuration and keys change, and users are revoked.
//
// It ends by itself. A figure that misses its bound is shown as missed; the
// command fails only if something does not work, or a call failed; with -edge also
// if what the edge holds grows. Everything is on the loopback interface and in a
// directory that it removes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// most is how long a run may take: whatever hangs then is ended.
const most = 10 * time.Minute

func main() {
	if len(os.Args) > 2 && os.Args[1] == "child" {
		exit(child(os.Args[2], os.Args[3:]))
	}
	services := flag.Int("services", 1000, "how many services follow the feed")
	rotations := flag.Int("rotations", 50, "how many times the signing key is rotated under load")
	rounds := flag.Int("rounds", 20, "how many revocations are timed")
	streams := flag.Int("streams", 200, "how many streams are open when one is timed")
	beside := flag.Bool("proxies", false, "instead, compare the edge with a plain reverse proxy")
	under := flag.Bool("edge", false, "instead, have an edge under load while all around it changes")
	duration := flag.Duration("for", 10*time.Minute, "for how long, with -edge")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *under {
		exit(runLoaded(ctx, *duration))
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	plan := plan{services: *services, rotations: *rotations, rounds: *rounds, streams: *streams}
	if *beside {
		exit(runProxies(ctx, plan))
	}
	exit(run(ctx, plan))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

type plan struct{ services, rotations, rounds, streams int }
