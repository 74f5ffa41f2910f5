// Command configdoc writes the reference of the configuration file, from the
// types that it is read into and their comments: configdoc FILE. It is run by
// make generate, in the directory of package bff.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// dirs are where the types are declared, by the name of their package as package
// bff has it.
var dirs = map[string]string{"": ".", "oidc": "authn/oidc"}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: configdoc FILE")
		os.Exit(2)
	}
	text, err := reference()
	if err == nil {
		err = os.WriteFile(os.Args[1], text, 0o644) //nolint:gosec // it is for everybody to read
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "configdoc:", err)
		os.Exit(1)
	}
}

const head = `# The configuration file

Every key of ` + "`onbehalf.yaml`" + `, with its unit and default. This page is made from the code by ` + "`make generate`" + `.
Durations are written ` + "`10s`" + `, ` + "`5m`" + ` or ` + "`720h`" + `. A key that is not listed here is an error, as is one that is written twice. ` + "`onbehalf config check`" + `
says what is wrong, with its line.
`

// writer goes through the types, each once.
type writer struct {
	types map[string]*ast.StructType // by package.Name
	named map[string]string          // other types, by package.Name: what they are made of
	out   bytes.Buffer
	seen  map[string]string // under which key a type was written
}

func reference() ([]byte, error) {
	w := &writer{types: make(map[string]*ast.StructType), named: make(map[string]string), seen: make(map[string]string)}
	for name, dir := range dirs {
		if err := w.parse(name, dir); err != nil {
			return nil, err
		}
	}
	if w.types[".Config"] == nil {
		return nil, errors.New("there is no type Config here")
	}
	w.out.WriteString(head)
	w.fields("", ".Config")
	return w.out.Bytes(), nil
}

func (w *writer) parse(pkg, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range decl.Specs {
				w.spec(pkg, s)
			}
		}
	}
	return nil
}

func (w *writer) spec(pkg string, s ast.Spec) {
	t, ok := s.(*ast.TypeSpec)
	if !ok {
		return
	}
	switch of := t.Type.(type) {
	case *ast.StructType:
		w.types[pkg+"."+t.Name.Name] = of
	case *ast.Ident:
		w.named[pkg+"."+t.Name.Name] = of.Name
	}
}

// fields writes the fields of a type, and then those of the types that it has.
func (w *writer) fields(prefix, name string) {
	w.seen[name] = strings.TrimSuffix(prefix, ".")
	pkg, _, _ := strings.Cut(name, ".")
	type part struct{ prefix, name string }
	var below []part
	var before string
	for _, f := range w.types[name].Fields.List {
		tag := "``"
		if f.Tag != nil {
			tag = f.Tag.Value
		}
		raw, _ := strconv.Unquote(tag)
		key, option, _ := strings.Cut(reflect.StructTag(raw).Get("yaml"), ",")
		kind, of := w.kind(pkg, f.Type)
		switch {
		case option == "inline":
			w.fields(prefix, of)
			continue
		case key == "" || key == "-":
			continue
		}
		if at, seen := w.seen[of]; seen {
			kind, of = strings.Replace(kind, "below", "in "+at, 1), ""
		}
		said := strings.TrimPrefix(text(f.Doc.Text()), f.Names[0].Name)
		switch {
		case strings.HasPrefix(said, " "): // it began with the field's name
			said = "`" + key + "`" + said
		case said == "":
			said = "See `" + before + "`."
		}
		before = key
		fmt.Fprintf(&w.out, "\n### %s%s\n\n%s\n", prefix, key, strings.TrimSpace(kind+". "+said))
		if of != "" {
			if strings.HasPrefix(kind, "List") {
				key += "[]"
			}
			below = append(below, part{prefix + key + ".", of})
		}
	}
	for _, b := range below {
		w.fields(b.prefix, b.name)
	}
}

// kind returns what a reader would call a type, and the name of the type of its
// parts if these have keys of their own.
func (w *writer) kind(pkg string, e ast.Expr) (kind, of string) {
	switch t := e.(type) {
	case *ast.StarExpr:
		return w.kind(pkg, t.X)
	case *ast.ArrayType:
		kind, of = w.kind(pkg, t.Elt)
		return "List of " + plural(kind), of
	case *ast.MapType:
		return "Map from text to text", ""
	case *ast.SelectorExpr:
		from, _ := t.X.(*ast.Ident)
		if from.Name == "time" {
			return "Duration", ""
		}
		return w.kind(from.Name, t.Sel)
	case *ast.Ident:
		name := pkg + "." + t.Name
		if _, ok := w.types[name]; ok {
			return "Keys as below", name
		}
		if base, ok := w.named[name]; ok {
			return w.kind(pkg, ast.NewIdent(base))
		}
		return map[string]string{"string": "Text", "int": "Number", "bool": "true or false"}[t.Name], ""
	}
	return "Value", ""
}

func plural(kind string) string {
	switch kind {
	case "Keys as below":
		return "entries, with keys as below"
	case "Text":
		return "texts"
	default:
		return strings.ToLower(kind) + "s"
	}
}

// text makes Markdown of a comment, without the links and the wrapping of Go.
func text(doc string) string {
	p := comment.Parser{LookupSym: func(_, _ string) bool { return true }}
	printer := &comment.Printer{TextWidth: -1}
	return strings.TrimSpace(string(printer.Text(p.Parse(doc))))
}
