// Package strictyaml decodes a configuration file and says of each mistake in
// it where it is and what to write instead.
//
// go-yaml reads the file. What it would take in silence or stop at is found
// before, all of it at once: keys that nobody knows or that stand there twice,
// values of another type, keys without a value, a second document, and anchors,
// tags and merges, with which a line may mean something else than it shows.
package strictyaml

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Problem is one mistake.
type Problem struct {
	Line int    // from 1; 0 if it is about the file
	Path string // such as routes[2].audience; "" if it is about the file
	Text string // what is wrong; what to do
}

// Lines says where keys stand, by path.
type Lines map[string]int

// Of returns the line of a path or, if that is not there, of what it would be
// in; 0 if there is neither.
func (l Lines) Of(path string) int {
	for path != "" {
		if line, ok := l[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return 0
}

// Decode reads data into the struct that into points to. Its fields are
// structs, slices, pointers, maps of strings, texts, integers, booleans and
// [time.Duration], and are named by their yaml tag. If there are problems, into
// is not changed.
func Decode(data []byte, into any) (Lines, []Problem) {
	c := &checker{lines: make(Lines)}
	document := c.parse(data)
	if document == nil {
		return nil, c.problems
	}
	c.check(document.Body, reflect.TypeOf(into).Elem(), "")
	if len(c.problems) > 0 {
		return c.lines, c.problems
	}
	if err := yaml.NodeToValue(document.Body, into, yaml.Strict()); err != nil {
		c.library(err)
	}
	return c.lines, c.problems
}

type checker struct {
	lines    Lines
	problems []Problem
}

func (c *checker) problemf(line int, path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Line: line, Path: path, Text: fmt.Sprintf(format, args...)})
}

// parse returns the one document, or nil. A key that stands there twice is left
// to check, which knows its path.
func (c *checker) parse(data []byte) *ast.DocumentNode {
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		c.library(err)
		return nil
	}
	var found *ast.DocumentNode
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case found != nil:
			c.problemf(line(doc.Body), "", "a second document; a file has one, remove the line ---")
			return nil
		default:
			found = doc
		}
	}
	if found == nil {
		c.problemf(0, "", "is empty")
	}
	return found
}

func (c *checker) library(err error) {
	if e, ok := errors.AsType[yaml.Error](err); ok {
		c.problemf(e.GetToken().Position.Line, "", "%s", e.GetMessage())
		return
	}
	c.problemf(0, "", "%v", err)
}

func line(node ast.Node) int {
	return node.GetToken().Position.Line
}
