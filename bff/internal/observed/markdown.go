package observed

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Markdown writes a table of the methods, and what is wrong with each below it.
func (r *Report) Markdown(w io.Writer, o Options) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "| Method | Calls | Allowed | Would be refused | Refused | Verdict |\n|---|---|---|---|---|---|")
	for _, m := range r.Methods() {
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s | %s |\n", plain(m.title()),
			digits(m.Calls), digits(m.Allowed), digits(m.WouldRefuse), digits(m.Refused), plain(m.Sentence()))
	}
	for _, m := range r.Methods() {
		if len(m.findings) == 0 {
			continue
		}
		fmt.Fprintf(out, "\n## %s\n\n", plain(m.title()))
		for _, f := range m.Findings() {
			fmt.Fprintf(out, "- **%s**\n", plain(f.title(m)))
			for _, detail := range f.details(m, o) {
				fmt.Fprintf(out, "  - %s\n", plain(detail))
			}
		}
	}
	fmt.Fprintln(out)
	for _, line := range r.summary() {
		fmt.Fprintln(out, plain(line))
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
