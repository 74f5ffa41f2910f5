package proxy

import (
	"encoding/base64"
	"errors"
	"io"
)

// The text form of gRPC-Web is base64 all through. Whoever writes it may end each
// piece with padding, so that it can stand before any group of four characters.
const (
	textGroup = 4 // characters
	textBytes = 3 // that they stand for
)

var errText = errors.New("proxy: gRPC-Web text that is not base64")

// textDecoder reads what a body in the text form stands for.
type textDecoder struct {
	io.ReadCloser

	text []byte // read, not decoded yet
	err  error  // and then this
}

// Read implements [io.Reader].
func (d *textDecoder) Read(p []byte) (int, error) {
	for {
		n := min(len(d.text)/textGroup, len(p)/textBytes)
		if n > 0 {
			return d.decode(p, n)
		}
		switch {
		case len(p) < textBytes:
			return 0, io.ErrShortBuffer
		case d.err == io.EOF && len(d.text) > 0: //nolint:errorlint // readers return it bare
			return 0, io.ErrUnexpectedEOF
		case d.err != nil:
			return 0, d.err
		}
		have := len(d.text)
		d.text = append(d.text, make([]byte, max(textGroup, len(p)/textBytes*textGroup-have))...)
		n, d.err = d.ReadCloser.Read(d.text[have:])
		d.text = d.text[:have+n]
	}
}

// decode returns the bytes of up to n groups: padding ends a piece.
func (d *textDecoder) decode(p []byte, n int) (int, error) {
	written := 0
	for range n {
		m, err := base64.StdEncoding.Strict().Decode(p[written:], d.text[:textGroup])
		if err != nil {
			d.text, d.err = nil, errText
			break
		}
		written += m
		d.text = d.text[textGroup:]
	}
	if written == 0 {
		return 0, d.err
	}
	return written, nil
}

// textEncoder writes a body in the text form.
type textEncoder struct {
	io.ReadCloser

	plain []byte
}

// Read implements [io.Reader].
func (e *textEncoder) Read(p []byte) (int, error) {
	if len(p) < textGroup {
		return 0, io.ErrShortBuffer
	}
	if e.plain == nil {
		e.plain = make([]byte, 3<<10)
	}
	n, err := e.ReadCloser.Read(e.plain[:min(len(e.plain), len(p)/textGroup*textBytes)])
	base64.StdEncoding.Encode(p, e.plain[:n])
	return base64.StdEncoding.EncodedLen(n), err
}
