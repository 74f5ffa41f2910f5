package access

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
)

// Markdown writes a table for each service.
func (t *Table) Markdown(w io.Writer) error {
	head, rows := t.grid()
	for i := range head {
		head[i] = head[i][:1] + strings.ToLower(head[i][1:])
	}
	out := bufio.NewWriter(w)
	service := ""
	for i, m := range t.methods {
		if m.service() != service {
			if service != "" {
				fmt.Fprintln(out)
			}
			service = m.service()
			fmt.Fprintf(out, "## %s\n\n", plain(service))
			fmt.Fprintf(out, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
		}
		for j, cell := range rows[i] {
			rows[i][j] = plain(cell)
		}
		fmt.Fprintf(out, "| %s |\n", strings.Join(rows[i], " | "))
	}
	return out.Flush()
}

// plain makes Markdown show text as it is.
func plain(text string) string {
	var b strings.Builder
	for _, r := range strings.Map(visible, text) {
		if strings.ContainsRune("\\`*_{}[]<>#|~&!", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

type jsonTable struct {
	Methods []jsonMethod `json:"methods"`
}

type jsonMethod struct {
	Service         string          `json:"service"`
	Method          string          `json:"method"`
	Procedure       string          `json:"procedure"`
	ClientStreaming bool            `json:"client_streaming"`
	ServerStreaming bool            `json:"server_streaming"`
	Who             []string        `json:"who"`
	Rule            json.RawMessage `json:"rule"` // as protobuf's JSON; null if there is none
	Default         bool            `json:"default"`
	As              *jsonAnswer     `json:"as,omitempty"`
}

type jsonAnswer struct {
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason,omitempty"`
}

// JSON writes {"methods": […]}: all that a rule says, in the names of
// access.proto.
func (t *Table) JSON(w io.Writer) error {
	out := jsonTable{Methods: make([]jsonMethod, 0, len(t.methods))}
	for _, m := range t.methods {
		j := jsonMethod{
			Service: m.service(), Method: m.name(), Procedure: m.procedure(),
			ClientStreaming: m.descriptor.IsStreamingClient(), ServerStreaming: m.descriptor.IsStreamingServer(),
			Who: append([]string{}, m.who...), Rule: json.RawMessage("null"), Default: m.inherited,
		}
		if m.rule != nil {
			rule, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m.rule)
			if err != nil {
				return err
			}
			j.Rule = rule
		}
		if t.caller != nil {
			j.As = &jsonAnswer{Allowed: m.reason == 0}
			if m.reason != 0 {
				j.As.Reason = m.reason.String()
			}
		}
		out.Methods = append(out.Methods, j)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}
