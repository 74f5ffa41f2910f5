package main

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"
)

func decode(text string) (string, error) {
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	return string(raw), err
}

// cutter is a proxy on the way to the edge that can cut it.
type cutter struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
	since time.Time // the first connection since it was opened again
}

func newCutter(to string) (*cutter, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &cutter{listener: l, to: to, conns: make(map[net.Conn]bool)}
	go c.accept()
	return c, nil
}

func (c *cutter) accept() {
	for {
		in, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		if c.shut {
			_ = in.Close()
			c.mu.Unlock()
			continue
		}
		if c.since.IsZero() {
			c.since = time.Now()
		}
		c.mu.Unlock()
		out, err := net.Dial("tcp", c.to)
		if err != nil {
			_ = in.Close()
			continue
		}
		c.mu.Lock()
		c.conns[in], c.conns[out] = true, true
		c.mu.Unlock()
		go c.pipe(in, out)
		go c.pipe(out, in)
	}
}

func (c *cutter) pipe(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	_ = from.Close()
	_ = to.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, from)
	delete(c.conns, to)
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut, c.since = true, time.Time{}
	for conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *cutter) join() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut = false
}

func (c *cutter) reconnected() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.since
}

func (s *services) cutBegin(r *http.Request) (any, error) {
	if s.through == nil {
		host := strings.TrimPrefix(s.mesh, "http://")
		var err error
		if s.through, err = newCutter(host); err != nil {
			return nil, err
		}
		m, err := s.member(r.Context(), "cut-off", "http://"+s.through.listener.Addr().String())
		if err != nil {
			return nil, err
		}
		s.members = append(s.members, m)
	}
	s.user = r.FormValue("user")
	header, err := s.principalOf(r.Context(), s.user)
	if err != nil {
		return nil, err
	}
	if err := s.hold(context.WithoutCancel(r.Context()), s.members[len(s.members)-1], header); err != nil {
		return nil, err
	}
	s.through.cut()
	runtime.GC()
	return map[string]string{"Session": sessionOf(s.user).String()}, nil
}

func (s *services) cutEnd(*http.Request) (any, error) {
	select {
	case <-s.ended:
		return nil, errors.New("the service knew what it cannot have heard of")
	default:
	}
	s.through.join()
	select {
	case at := <-s.ended:
		return map[string]int64{"Took": at - s.through.reconnected().UnixNano()}, nil
	case <-time.After(20 * time.Second):
		return nil, errors.New("the service has not learned of the revocation")
	}
}
