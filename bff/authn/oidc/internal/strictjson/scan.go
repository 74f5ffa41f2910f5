package strictjson

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Parse reads one JSON object.
//
// No two members of an object may have the same name. In the outermost object
// they may not differ in case alone either: encoding/json, and what is built on
// it, takes "ISS" for "iss". Deeper objects often have names chosen by users.
func Parse(data []byte) (Object, error) {
	if !utf8.Valid(data) {
		return nil, ErrSyntax
	}
	s := scanner{data: data, names: make([]string, 0, usual), outermost: make(Object, 0, usual)}
	s.space()
	if s.peek() != '{' {
		return nil, ErrSyntax
	}
	if err := s.value(0); err != nil {
		return nil, err
	}
	s.space()
	if s.pos != len(data) {
		return nil, ErrSyntax
	}
	return s.outermost, nil
}

type scanner struct {
	data      []byte
	pos       int
	members   int
	names     []string // of the objects that are not closed yet, innermost last
	outermost Object
}

// value reads a value inside depth objects and arrays.
func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth + 1)
	case c == '[':
		return s.array(depth + 1)
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || isDigit(c):
		return s.number()
	default:
		return s.literal()
	}
}

func (s *scanner) object(depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	s.pos++
	s.space()
	if s.accept('}') {
		return nil
	}
	first := len(s.names)
	for {
		if err := s.member(depth, first); err != nil {
			return err
		}
		s.space()
		if s.accept('}') {
			s.names = s.names[:first]
			return nil
		}
		if !s.accept(',') {
			return ErrSyntax
		}
		s.space()
	}
}

// member reads a name, a colon and a value; the object's other names are those
// from first on.
func (s *scanner) member(depth, first int) error {
	if s.members++; s.members > MaxMembers {
		return ErrMembers
	}
	if s.peek() != '"' {
		return ErrSyntax
	}
	name, err := s.text()
	if err != nil {
		return err
	}
	if depth > 1 && slices.Contains(s.names[first:], name) ||
		depth == 1 && slices.ContainsFunc(s.names, func(other string) bool { return strings.EqualFold(other, name) }) {
		return ErrDuplicate
	}
	s.names = append(s.names, name)

	s.space()
	if !s.accept(':') {
		return ErrSyntax
	}
	s.space()
	start := s.pos
	if err := s.value(depth); err != nil {
		return err
	}
	if depth == 1 {
		s.outermost = append(s.outermost, Member{Name: name, Value: s.data[start:s.pos:s.pos]})
	}
	return nil
}

func (s *scanner) array(depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	s.pos++
	s.space()
	if s.accept(']') {
		return nil
	}
	for {
		if err := s.value(depth); err != nil {
			return err
		}
		s.space()
		if s.accept(']') {
			return nil
		}
		if !s.accept(',') {
			return ErrSyntax
		}
		s.space()
	}
}

// text reads a string and returns what it stands for.
func (s *scanner) text() (string, error) {
	start := s.pos
	s.pos++
	for {
		switch c := s.peek(); {
		case c < 0x20: // also the end of the input
			return "", ErrSyntax
		case c == '"':
			s.pos++
			if text, ok := Text(s.data[start:s.pos]); ok {
				return text, nil
			}
			return "", ErrSyntax
		case c == '\\':
			if !s.escape() {
				return "", ErrSyntax
			}
		default:
			s.pos++
		}
	}
}

// escape skips an escape sequence. Half a surrogate pair is none: decoders turn
// it into U+FFFD, and different names into the same one.
func (s *scanner) escape() bool {
	s.pos++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return true
	case 'u':
		r, ok := s.hex()
		if !ok || !utf16.IsSurrogate(r) {
			return ok
		}
		if !s.accept('\\') {
			return false
		}
		low, ok := s.hex()
		return ok && utf16.DecodeRune(r, low) != unicode.ReplacementChar
	default:
		return false
	}
}

// hex reads a u and four hexadecimal digits.
func (s *scanner) hex() (rune, bool) {
	const length = len("uXXXX")
	if s.peek() != 'u' || len(s.data)-s.pos < length {
		return 0, false
	}
	digits := s.data[s.pos+1 : s.pos+length]
	for _, c := range digits {
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') { // ParseUint also takes a sign
			return 0, false
		}
	}
	s.pos += length
	n, err := strconv.ParseUint(string(digits), 16, 16)
	return rune(n), err == nil
}

func (s *scanner) number() error {
	s.accept('-')
	if !s.accept('0') && !s.digits() {
		return ErrSyntax
	}
	if s.accept('.') && !s.digits() {
		return ErrSyntax
	}
	if s.accept('e') || s.accept('E') {
		if !s.accept('+') {
			s.accept('-')
		}
		if !s.digits() {
			return ErrSyntax
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for isDigit(s.peek()) {
		s.pos++
	}
	return s.pos > start
}

func (s *scanner) literal() error {
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
			s.pos += len(word)
			return nil
		}
	}
	return ErrSyntax
}

// peek returns the next byte; the end of the input reads as 0, which is not
// allowed anywhere in JSON.
func (s *scanner) peek() byte {
	if s.pos == len(s.data) {
		return 0
	}
	return s.data[s.pos]
}

func (s *scanner) accept(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) space() {
	for {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
