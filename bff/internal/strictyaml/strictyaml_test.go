package strictyaml_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff/internal/strictyaml"
)

type kind string

type settings struct {
	Version int           `yaml:"version"`
	Name    string        `yaml:"name"`
	Kind    kind          `yaml:"kind"`
	On      bool          `yaml:"on"`
	Wait    time.Duration `yaml:"wait"`
	Links   *int          `yaml:"links"`
	Listen  struct {
		Public string `yaml:"public"`
	} `yaml:"listen"`
	Routes []route           `yaml:"routes"`
	Map    map[string]string `yaml:"map"`
}

type route struct {
	Host     string   `yaml:"host"`
	Audience []string `yaml:"audience"`
}

func TestDecode(t *testing.T) {
	t.Parallel()
	const file = `
version: 1
name: "5"
kind: human
on: true
wait: 90s
links: 0
listen: {public: "127.0.0.1:1"}
routes:
  - host: a
    audience: [x, y]
  - host: |
      b
map:
  k: v
`
	var got settings
	lines, problems := strictyaml.Decode([]byte(file), &got)
	if problems != nil {
		t.Fatal(problems)
	}
	want := settings{
		Version: 1, Name: "5", Kind: "human", On: true, Wait: 90 * time.Second, Links: new(int),
		Routes: []route{{Host: "a", Audience: []string{"x", "y"}}, {Host: "b\n"}},
		Map:    map[string]string{"k": "v"},
	}
	want.Listen.Public = "127.0.0.1:1"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for path, line := range map[string]int{
		"version": 2, "listen.public": 8, "routes[0].audience": 11, "routes[1]": 12, "map.k": 15,
		"routes[1].audience": 12, "routes[0].audience[1]": 11, "routes[7].host": 9, "nothing": 0, "": 0,
	} {
		if got := lines.Of(path); got != line {
			t.Errorf("%q is in line %d, want %d", path, got, line)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	const known = "unknown key; known here: audience, host"
	for _, tt := range []struct {
		name, file string
		want       []string
	}{
		{"unknown key", "routes:\n- host: a\n  hots: b\n- hoost: c", []string{"3: routes[0].hots: " + known, "4: routes[1].hoost: " + known}},
		{"key in capitals", "Version: 1", []string{"1: Version: unknown key; known here: kind, links, listen, map, name, on, routes, version, wait"}},
		{"duplicate key", "name: a\nname: b", []string{"2: name: stands in line 1 too; remove one"}},
		{"duplicate key in a map", "map: {a: b, a: c}", []string{"1: map.a: stands in line 1 too; remove one"}},
		{"number as text", "name: 5\nkind: 1.5\nmap: {a: 1}", []string{
			"1: name: is a number; put it in quotes", "2: kind: is a number; put it in quotes", "3: map.a: is a number; put it in quotes",
		}},
		{"boolean as text", "name: true", []string{"1: name: is true or false; put it in quotes"}},
		{"list as text", "name: [a]", []string{"1: name: is a list; write a text"}},
		{"text as number", "version: one", []string{"1: version: is a text; write a whole number"}},
		{"quoted number", "version: '1'", []string{"1: version: is a text; write a whole number"}},
		{"fraction as number", "version: 1.5", []string{"1: version: is a number; write a whole number"}},
		{"text as boolean", "on: yes", []string{"1: on: is a text; write true or false"}},
		{"number without unit", "wait: 60", []string{"1: wait: is not a time; write a number and its unit, such as 60s or 5m"}},
		{"text as time", "wait: sixty", []string{"1: wait: is not a time; write a number and its unit, such as 60s or 5m"}},
		{"text as list", "routes:\n- audience: a", []string{"2: routes[0].audience: is a text; write a list, such as [a, b]"}},
		{"wrong element", "routes:\n- audience:\n  - a\n  - 1", []string{"4: routes[0].audience[1]: is a number; put it in quotes"}},
		{"list as group", "listen: [a]", []string{"1: listen: is a list; write keys and their values"}},
		{"text as group", "routes: [a]", []string{"1: routes[0]: is a text; write keys and their values"}},
		{"no value", "name:\nlisten:\nroutes: [~]\nlinks: null", []string{
			"1: name: has no value; write one, or remove the key", "2: listen: has no value; write one, or remove the key",
			"3: routes[0]: has no value; write one, or remove the key", "4: links: has no value; write one, or remove the key",
		}},
		{"anchor and alias", "name: &a x\nkind: *a", []string{
			"1: name: is an anchor (&); write the value where it is used", "2: kind: is an alias (*); write the value itself",
		}},
		{"merge", "listen:\n  <<: {public: a}", []string{"2: listen: is a merge (<<); write the keys themselves"}},
		{"tag", "name: !!binary aGk=", []string{"1: name: has a tag (!); write the plain value"}},
		{"number as key", "map: {1: a}", []string{"1: map: the key is a number; put it in quotes"}},
		{"two documents", "version: 1\n---\nversion: 1", []string{"3: : a second document; a file has one, remove the line ---"}},
		{"empty", "", []string{"0: : is empty"}},
		{"comment only", "# nothing", []string{"0: : is empty"}},
		{"list", "- a", []string{"1: : is a list; write keys and their values"}},
		{"not YAML", "name: \"a", []string{"1: : could not find end character of double-quoted text"}},
		{"tabs", "listen:\n\tpublic: a", []string{"2: : found character '\t' that cannot start any token"}},
		{"out of range", "version: 99999999999999999999", []string{"1: version: is a text; write a whole number"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var into settings
			_, problems := strictyaml.Decode([]byte(tt.file), &into)
			var got []string
			for _, p := range problems {
				got = append(got, fmt.Sprintf("%d: %s: %s", p.Line, p.Path, p.Text))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(settings{}, into); d != "" {
				t.Error("changed in spite of the problems", d)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("version: 1\nroutes: [{host: a}]\nmap: {a: b}\nwait: 1s"))
	f.Add([]byte("a: &a [*a]\n<<: *a\n? b\n: c\n---\n..."))
	f.Fuzz(func(t *testing.T, data []byte) {
		var into settings
		if _, problems := strictyaml.Decode(data, &into); len(problems) == 0 {
			var again settings
			if strictyaml.Decode(data, &again); cmp.Diff(into, again) != "" {
				t.Error("not always the same")
			}
		}
	})
}
