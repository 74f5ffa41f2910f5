package main

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progressFrom is how much is read in silence: less than that takes no second.
const progressFrom = 64 << 20

// progress says on a terminal how far a command has read; elsewhere nothing.
type progress struct {
	to         io.Writer // nil: silent
	size, read int64     // a size of 0 is unknown
	next       time.Time // to say something
	shown      bool
}

func newProgress(size int64) *progress {
	p := &progress{size: size, next: time.Now().Add(time.Second)}
	info, err := os.Stderr.Stat()
	if err == nil && info.Mode()&os.ModeCharDevice != 0 && (size == 0 || size >= progressFrom) {
		p.to = os.Stderr
	}
	return p
}

func (p *progress) add(n int) {
	p.read += int64(n)
	if p.to == nil || time.Now().Before(p.next) {
		return
	}
	p.next = time.Now().Add(200 * time.Millisecond)
	p.shown = true
	if p.size > 0 {
		fmt.Fprintf(p.to, "\rread %d %%", min(p.read*100/p.size, 100))
	} else {
		fmt.Fprintf(p.to, "\rread %d MiB", p.read>>20)
	}
}

// done takes away what stands there.
func (p *progress) done() {
	if p.shown {
		fmt.Fprint(p.to, "\r                    \r")
	}
}

// counted tells a progress what is read.
type counted struct {
	io.Reader

	progress *progress
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.progress.add(n)
	return n, err
}
