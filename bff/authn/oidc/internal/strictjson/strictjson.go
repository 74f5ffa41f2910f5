// Package strictjson reads JSON objects that have exactly one meaning.
//
// Parsers differ in which of two members of one name they take, in whether
// names compare with or without case, and in what they make of broken UTF-8; a
// token that is checked by one and used by another means two things. Parse
// refuses all of it, in one pass whose cost is bounded by the length of the
// input and before any general JSON parser sees it.
//
// What Parse accepts is valid JSON (RFC 8259) and I-JSON (RFC 7493) but for the
// range of numbers, which is not checked.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
)

// Limits on one document. Tokens in use nest to about 5 and have about 40
// members.
const (
	// MaxDepth is how deep objects and arrays may nest, the outermost counted.
	MaxDepth = 16
	// MaxMembers is how many members all objects may have together.
	MaxMembers = 256

	usual = 16 // members of a token
)

// The errors of Parse. They never repeat any of the input.
var (
	ErrSyntax    = errors.New("not a JSON object")
	ErrDepth     = errors.New("nested too deeply")
	ErrMembers   = errors.New("too many members")
	ErrDuplicate = errors.New("a member twice in one object")
)

// Member is one member of an object. Value shares memory with the input.
type Member struct {
	Name  string
	Value json.RawMessage
}

// Object is the members of a JSON object as they came. The zero value has none.
type Object []Member

// Get returns the value of the member with exactly this name.
func (o Object) Get(name string) (json.RawMessage, bool) {
	for _, m := range o {
		if m.Name == name {
			return m.Value, true
		}
	}
	return nil, false
}

// Text returns the string that a value of an [Object] is, and false for any other
// value; encoding/json would take null for an empty one.
func Text(value json.RawMessage) (string, bool) {
	if value[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(value, '\\') < 0 { // Parse has seen that it holds nothing else that is not as it reads
		return string(value[1 : len(value)-1]), true
	}
	var text string
	err := json.Unmarshal(value, &text)
	return text, err == nil
}
