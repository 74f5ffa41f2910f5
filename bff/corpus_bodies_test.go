package bff_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// P04: what is answered to one caller is not kept for another, and GET is no way
// around what a method asks for.
func TestSectionPCaches(t *testing.T) {
	t.Parallel()
	eachDoor(t, setup{extra: guarded, handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
	})}, func(t *testing.T, s *site) {
		t.Helper()
		for _, user := range []string{"alice", "bob"} {
			a := s.send(wire{path: "/admin.v1.Admin/Get?connect=v1&encoding=json&message=%7B%7D", fields: []field{
				{"Authorization", "Bearer " + s.provider.token(user, nil)},
			}})
			vary := strings.Join(a.header.Values("Vary"), ", ")
			if a.code != http.StatusOK || !strings.Contains(vary, "Authorization") || !strings.Contains(vary, "Cookie") {
				t.Errorf("%s: status %d, Vary %q", user, a.code, vary)
			}
		}
		a := s.send(wire{path: "/admin.v1.Admin/Get?connect=v1&encoding=json&message=%7B%7D"})
		if a.code != http.StatusUnauthorized || a.header.Get("Cache-Control") != "no-store" || s.upstream.count() != 2 {
			t.Errorf("refused: status %d, %v", a.code, a.header)
		}
	})
}

// P06: a body has an end, whatever it says of its length, and nothing of it is
// kept.
func TestSectionPBodies(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	taking := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	eachDoor(t, setup{extra: "limits: {body_bytes: 65536, body_timeout: 20s}\n", handler: taking}, func(t *testing.T, s *site) {
		t.Helper()
		large := strings.Repeat("a", 1<<10)
		if s.two { // within the window that the other side opens at first
			conn := s.dial()
			c, err := begin(conn)
			if err != nil {
				t.Fatal(err)
			}
			head := &wire{method: http.MethodPost, path: "/public/endless", host: "edge.test"}
			block, err := c.encode(head.pseudo(), false)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true}); err != nil {
				t.Fatal(err)
			}
			go func() {
				c := http2.NewFramer(conn, nil) // the other one acknowledges settings meanwhile
				for range 2 * limit >> 10 {
					if c.WriteData(1, false, []byte(large)) != nil {
						return
					}
				}
			}()
			if a, err := c.answer(1); err == nil && a.code != 0 && a.code != http.StatusRequestEntityTooLarge {
				t.Errorf("endless: status %d", a.code)
			}
		} else {
			chunks := strings.Repeat("400\r\n"+large+"\r\n", 2*limit>>10)
			a := s.send(wire{method: http.MethodPost, path: "/public/endless", verbatim: true, fields: []field{{"Transfer-Encoding", "chunked"}}, body: chunks})
			if a.code != 0 && a.code != http.StatusRequestEntityTooLarge {
				t.Errorf("endless: status %d", a.code)
			}
		}
		// A frame of 4 GiB is only announced; its sender then goes.
		began := time.Now()
		s.send(wire{
			method: http.MethodPost, path: "/public/frame", body: "\x00\xff\xff\xff\xff", fields: []field{{"Content-Type", "application/grpc-web+proto"}},
		})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("a frame that never comes was waited for %v", took)
		}
		records := s.records()
		if len(records) != 2 || !slices.ContainsFunc(records, func(r record) bool {
			return r.text("path") == "/public/endless" && r.text("decision") == "allowed" && r.text("status") != "200"
		}) {
			t.Error(records)
		}
	})
}
