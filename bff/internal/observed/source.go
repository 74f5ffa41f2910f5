package observed

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"time"
)

// maxLine is the longest line that is read.
const maxLine = 1 << 20

// Input is a log.
type Input struct {
	Name   string
	Reader io.Reader
}

// source gives the decisions of a log, one after the other.
type source struct {
	name  string
	in    *bufio.Reader
	since time.Time
	read  *Read

	long []byte // of a line that is longer than the reader's buffer
	next line
	more bool
}

// newSource opens a log; one that gzip has made is told by its first bytes.
func newSource(in Input, since time.Time, read *Read) (*source, error) {
	s := &source{name: in.Name, in: bufio.NewReaderSize(in.Reader, 64<<10), since: since, read: read}
	if magic, _ := s.in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(s.in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", in.Name, err)
		}
		s.in = bufio.NewReaderSize(z, 64<<10)
	}
	return s, s.advance()
}

// advance looks for the next decision.
func (s *source) advance() error {
	for {
		data, err := s.line()
		switch {
		case damaged(err): // what comes after it cannot be had
			s.read.Corrupt++
			s.more = false
			return nil
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("%s: %w", s.name, err)
		}
		s.more = len(data) > 0 || err == nil
		if !s.more {
			return nil
		}
		last := s.next.Time
		found, what := parse(data)
		if s.read.count(what); what != decision {
			continue
		}
		if found.Time.IsZero() {
			s.read.WithoutTime++
			found.Time = last // it has its place in the file
		}
		if found.Time.Before(s.since) {
			s.read.Earlier++
			s.read.Decisions--
			continue
		}
		s.next = found
		return nil
	}
}

// line returns the next line that is not too long, with what ends it. Its bytes
// are good until the next call.
func (s *source) line() ([]byte, error) {
	for {
		data, err := s.in.ReadSlice('\n')
		if !errors.Is(err, bufio.ErrBufferFull) {
			s.read.line(data)
			return data, err
		}
		s.long = s.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(s.long) <= maxLine {
				s.long = append(s.long, data...)
			}
			data, err = s.in.ReadSlice('\n')
		}
		if len(s.long)+len(data) <= maxLine {
			s.long = append(s.long, data...)
			s.read.line(s.long)
			return s.long, err
		}
		s.read.TooLong++
		s.read.Lines++
		if err != nil {
			return nil, err
		}
	}
}

// Read counts what there was in the logs.
type Read struct {
	Files       int   `json:"files"`
	Lines       int64 `json:"lines"`
	Decisions   int64 `json:"decisions"`
	Other       int64 `json:"other"`
	Corrupt     int64 `json:"corrupt,omitempty"`      // torn or garbled
	TooLong     int64 `json:"too_long,omitempty"`     // over 1 MiB
	Earlier     int64 `json:"earlier,omitempty"`      // before what was asked for
	WithoutTime int64 `json:"without_time,omitempty"` // taken to be of the line before
}

func (r *Read) line(data []byte) {
	if len(data) > 0 {
		r.Lines++
	}
}

func (r *Read) count(what kind) {
	switch what {
	case other:
		r.Other++
	case corrupt:
		r.Corrupt++
	case decision:
		r.Decisions++
	}
}

// damaged reports whether a compressed log ends too early or is garbled.
func damaged(err error) bool {
	_, garbled := errors.AsType[flate.CorruptInputError](err)
	return garbled || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader)
}
