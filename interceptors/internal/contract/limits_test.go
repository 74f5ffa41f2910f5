package contract_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// B05: headers beyond the limit of the whole list are the transport's to
// refuse, whether the caller keeps to the limit it was told or not.
func TestHeaderBeyondLimit(t *testing.T) {
	t.Parallel()
	for _, s := range stacks {
		for _, size := range []int{20 << 10, 64 << 10, 1 << 20, 16 << 20} {
			t.Run(fmt.Sprintf("%s/B05 %d KiB", s.name, size>>10), func(t *testing.T) {
				t.Parallel()
				keys, events := newKeySet(), new(record)
				srv := s.start(t, guardOf(t, verifierOf(t, "s2", keys), rules(anyKind()), principal.WithObserver(events)), new(app), nil)
				flood(t, srv, s.protocols[0], size)
				contexts, _, _ := srv.app.take()
				if len(contexts)+len(events.take()) != 0 || keys.finds.Load() != 0 {
					t.Errorf("%d handlers ran, or a guard looked at it", len(contexts))
				}
				_, o, err := newPeer(t, srv, s.protocols[0], nil).call(t.Context(), unary, http.Header{"X-Principal-Bin": {text(relayed())}})
				if o != (outcome{}) || err != nil {
					t.Errorf("afterwards: %+v, %v", o, err)
				}
			})
		}
	}
}

// flood sends a header of that size over HTTP/2, frame by frame, and returns
// when the server has refused it: the call, or the connection.
func flood(t *testing.T, srv *server, p protocol, size int) {
	t.Helper()
	conn, err := srv.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	contentType := map[protocol]string{grpcProtocol: "application/grpc+proto", connectProtocol: "application/proto", plainProtocol: "text/plain"}[p]
	block := new(bytes.Buffer)
	encoder := hpack.NewEncoder(block)
	for _, f := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: unary.procedure()}, {Name: ":authority", Value: "server.test"},
		{Name: "content-type", Value: contentType}, {Name: "te", Value: "trailers"},
		{Name: principal.HeaderName, Value: strings.Repeat("A", size)},
	} {
		if err := encoder.WriteField(f); err != nil {
			t.Fatal(err)
		}
	}
	refused := make(chan error, 1)
	framer := http2.NewFramer(conn, conn)
	go func() { refused <- readRefusal(framer) }()
	_ = send(conn, framer, block.Bytes()) // fails when the server has closed the connection
	select {
	case err := <-refused:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the server has not refused it")
	}
}

func send(conn net.Conn, framer *http2.Framer, block []byte) error {
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return err
	}
	if err := framer.WriteSettings(); err != nil {
		return err
	}
	first := true
	for len(block) > 0 {
		n := min(len(block), 16<<10)
		var err error
		if first {
			err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:n], EndStream: true, EndHeaders: n == len(block)})
		} else {
			err = framer.WriteContinuation(1, n == len(block), block[:n])
		}
		if err != nil {
			return err
		}
		first, block = false, block[n:]
	}
	return nil
}

// readRefusal reads until the server resets the stream, answers it with an error
// or goes.
func readRefusal(framer *http2.Framer) error {
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return nil //nolint:nilerr // the connection has gone, which is what is waited for
		}
		switch f := frame.(type) {
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return nil
		case *http2.MetaHeadersFrame:
			if status := f.PseudoValue("status"); status == "431" {
				return nil
			}
			return errors.New("the server answered " + fmt.Sprint(f.Fields))
		}
	}
}
