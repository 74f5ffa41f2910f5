package proxy

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// maxLastFrame bounds what is kept of a stream, compressed and not.
const maxLastFrame = 64 << 10

var errLastFrame = errors.New("proxy: unreadable end of a stream")

// cleanLast returns the last frame of a stream without our headers. The error
// is [io.ErrUnexpectedEOF] as long as the frame is not complete.
func (x *exchange) cleanLast(b []byte, h http.Header, p protocol) ([]byte, error) {
	if len(b) < frameHead {
		return nil, io.ErrUnexpectedEOF
	}
	size := binary.BigEndian.Uint32(b[1:])
	if size > maxLastFrame {
		return nil, errLastFrame
	}
	if uint32(len(b)-frameHead) < size {
		return nil, io.ErrUnexpectedEOF
	}
	whole := b[:frameHead+size]
	payload, err := unpack(whole, h, p)
	if err != nil {
		return nil, err
	}
	clean := x.cleanConnect
	if p == grpcWeb {
		clean = x.cleanGRPCWeb
	}
	if payload, changed := clean(payload); changed {
		return frame(whole[0]&^compressed, string(payload)), nil
	}
	return whole, nil
}

func unpack(whole []byte, h http.Header, p protocol) ([]byte, error) {
	payload := whole[frameHead:]
	if whole[0]&compressed == 0 {
		return payload, nil
	}
	coding := h.Get("Connect-Content-Encoding")
	if p == grpcWeb {
		coding = h.Get("Grpc-Encoding")
	}
	if coding != "gzip" { // others were not offered, see onlyGzip
		return nil, errLastFrame
	}
	zr, err := gzip.NewReader(bytes.NewReader(payload))
	if err != nil {
		return nil, errLastFrame
	}
	payload, err = io.ReadAll(io.LimitReader(zr, maxLastFrame+1))
	if err != nil || len(payload) > maxLastFrame {
		return nil, errLastFrame
	}
	return payload, nil
}

// cleanConnect removes our headers from the metadata of an end-of-stream
// message. One without any stays as it is, byte for byte.
func (x *exchange) cleanConnect(payload []byte) (clean []byte, changed bool) {
	var end map[string]json.RawMessage
	var metadata map[string][]string
	if json.Unmarshal(payload, &end) != nil || json.Unmarshal(end["metadata"], &metadata) != nil {
		return payload, false // no client reads it either
	}
	for name, values := range metadata {
		if principal.IsAlias(name) {
			x.noteReason(name, values)
			delete(metadata, name)
			changed = true
		}
	}
	if !changed {
		return payload, false
	}
	end["metadata"], _ = json.Marshal(metadata) // strings always can be
	clean, _ = json.Marshal(end)
	return clean, true
}

// cleanGRPCWeb does the same for a block of trailer lines.
func (x *exchange) cleanGRPCWeb(payload []byte) (clean []byte, changed bool) {
	for line := range bytes.Lines(payload) {
		name, value, _ := strings.Cut(string(line), ":")
		if principal.IsAlias(name) {
			x.noteReason(name, []string{strings.TrimSpace(value)})
			changed = true
			continue
		}
		clean = append(clean, line...)
	}
	return clean, changed
}
