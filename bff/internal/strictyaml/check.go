package strictyaml

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

var duration = reflect.TypeFor[time.Duration]()

// check compares a node with the type that it is to become.
func (c *checker) check(node ast.Node, t reflect.Type, path string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if word, wrong := refused[node.Type()]; wrong {
		c.problemf(line(node), path, "%s", word)
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		c.checkStruct(node, t, path)
	case reflect.Map:
		c.eachKey(node, path, func(entry *ast.MappingValueNode, _, path string) {
			c.check(entry.Value, t.Elem(), path)
		})
	case reflect.Slice:
		c.checkSlice(node, t, path)
	default:
		c.checkScalar(node, t, path)
	}
}

var refused = map[ast.NodeType]string{
	ast.NullType:     "has no value; write one, or remove the key",
	ast.AnchorType:   "is an anchor (&); write the value where it is used",
	ast.AliasType:    "is an alias (*); write the value itself",
	ast.TagType:      "has a tag (!); write the plain value",
	ast.MergeKeyType: "is a merge (<<); write the keys themselves",
}

func (c *checker) checkStruct(node ast.Node, t reflect.Type, path string) {
	fields := make(map[string]reflect.Type)
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if f.IsExported() && name != "" && name != "-" {
			fields[name] = f.Type
			names = append(names, name)
		}
	}
	c.eachKey(node, path, func(entry *ast.MappingValueNode, key, path string) {
		field, known := fields[key]
		if !known {
			slices.Sort(names)
			c.problemf(line(entry.Key), path, "unknown key; known here: %s", strings.Join(names, ", "))
			return
		}
		c.check(entry.Value, field, path)
	})
}

func (c *checker) checkSlice(node ast.Node, t reflect.Type, path string) {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		c.problemf(line(node), path, "is %s; write a list, such as [a, b]", kindOf(node))
		return
	}
	for i, value := range list.Values {
		at := path + "[" + strconv.Itoa(i) + "]"
		c.lines[at] = line(value)
		c.check(value, t.Elem(), at)
	}
}

// eachKey calls do for each key of a mapping, with the path of its value.
func (c *checker) eachKey(node ast.Node, path string, do func(entry *ast.MappingValueNode, key, path string)) {
	mapping, ok := node.(ast.MapNode)
	if !ok {
		c.problemf(line(node), path, "is %s; write keys and their values", kindOf(node))
		return
	}
	seen := make(map[string]int)
	for entries := mapping.MapRange(); entries.Next(); {
		entry := entries.KeyValue()
		key, ok := entry.Key.(*ast.StringNode)
		if !ok {
			if word, wrong := refused[entry.Key.Type()]; wrong {
				c.problemf(line(entry.Key), path, "%s", word)
			} else {
				c.problemf(line(entry.Key), path, "the key is %s; put it in quotes", kindOf(entry.Key))
			}
			continue
		}
		at := key.Value
		if path != "" {
			at = path + "." + key.Value
		}
		if first, twice := seen[key.Value]; twice {
			c.problemf(line(key), at, "stands in line %d too; remove one", first)
			continue
		}
		seen[key.Value] = line(key)
		c.lines[at] = line(key)
		do(entry, key.Value, at)
	}
}

func (c *checker) checkScalar(node ast.Node, t reflect.Type, path string) {
	text, isText := textOf(node)
	_, isInt := node.(*ast.IntegerNode)
	_, isBool := node.(*ast.BoolNode)
	switch {
	case t == duration:
		if _, err := time.ParseDuration(text); !isText || err != nil {
			c.problemf(line(node), path, "is not a time; write a number and its unit, such as 60s or 5m")
		}
	case t.Kind() == reflect.String && isText, t.Kind() == reflect.Bool && isBool, t.Kind() == reflect.Int && isInt:
	case t.Kind() == reflect.String && isScalar(node):
		c.problemf(line(node), path, "is %s; put it in quotes", kindOf(node))
	case t.Kind() == reflect.String:
		c.problemf(line(node), path, "is %s; write a text", kindOf(node))
	case t.Kind() == reflect.Bool:
		c.problemf(line(node), path, "is %s; write true or false", kindOf(node))
	default:
		c.problemf(line(node), path, "is %s; write a whole number", kindOf(node))
	}
}

func textOf(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	default:
		return "", false
	}
}

func isScalar(node ast.Node) bool {
	_, ok := node.(ast.ScalarNode)
	return ok
}

func kindOf(node ast.Node) string {
	switch node.Type() {
	case ast.MappingType, ast.MappingValueType:
		return "a group of keys"
	case ast.SequenceType:
		return "a list"
	case ast.BoolType:
		return "true or false"
	case ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
		return "a number"
	case ast.StringType, ast.LiteralType:
		return "a text"
	default:
		return "something else"
	}
}
