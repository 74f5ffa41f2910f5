package access

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	gap       = 2
	minColumn = 8
	longWord  = 20 // is broken before columns of short words are squeezed
)

// Text writes the table for people, in lines of at most width characters; that
// of less than 80 is taken as 80. Cells are wrapped, never cut.
func (t *Table) Text(w io.Writer, width int) error {
	head, rows := t.grid()
	for _, row := range rows {
		row[0] = "  " + row[0]
		for i := range row {
			row[i] = strings.Map(visible, row[i])
		}
	}
	widths := fit(append([][]string{head}, rows...), max(width, 80))
	out := bufio.NewWriter(w)
	writeRow(out, head, widths)
	service := ""
	for i, m := range t.methods {
		if m.service() != service {
			service = m.service()
			fmt.Fprintln(out, service)
		}
		writeRow(out, rows[i], widths)
	}
	return out.Flush()
}

// visible keeps what others wrote from moving the cursor.
func visible(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}

// fit returns the columns' widths: as wide as their cells, or narrower until a
// row has room, first only as far as no short word is broken.
func fit(rows [][]string, room int) []int {
	widths, words := make([]int, len(rows[0])), make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			for word := range strings.FieldsSeq(cell) {
				words[i] = max(words[i], len(indentOf(cell))+min(utf8.RuneCountInString(word), longWord))
			}
		}
	}
	for _, floor := range [][]int{words, slices.Repeat([]int{minColumn}, len(words))} {
		for total(widths) > room {
			i, width := cheapest(rows, widths, floor)
			if width == 0 {
				break
			}
			widths[i] = width
		}
	}
	return widths
}

// cheapest finds the column to make narrower that gives the most room for the
// fewest lines, and its next width; 0 if all are at their floor.
func cheapest(rows [][]string, widths, floor []int) (column, width int) {
	var best float64
	for i, now := range widths {
		if now <= floor[i] {
			continue
		}
		before, _ := measure(rows, i, now)
		after, next := measure(rows, i, now-1)
		next = max(next, floor[i])
		if cost := float64(after-before) / float64(now-next); width == 0 || cost < best {
			best, column, width = cost, i, next
		}
	}
	return column, width
}

// measure returns how many lines a column has when it is wrapped at width, and
// how long the longest one is.
func measure(rows [][]string, column, width int) (lines, longest int) {
	for _, row := range rows {
		for _, line := range wrap(row[column], width) {
			lines++
			longest = max(longest, utf8.RuneCountInString(line))
		}
	}
	return lines, longest
}

func total(widths []int) int {
	sum := gap * (len(widths) - 1)
	for _, w := range widths {
		sum += w
	}
	return sum
}

func writeRow(w io.Writer, cells []string, widths []int) {
	lines := make([][]string, len(cells))
	height := 0
	for i, cell := range cells {
		lines[i] = wrap(cell, widths[i])
		height = max(height, len(lines[i]))
	}
	for n := range height {
		var line strings.Builder
		for i := range cells {
			text := ""
			if n < len(lines[i]) {
				text = lines[i][n]
			}
			line.WriteString(text)
			line.WriteString(strings.Repeat(" ", gap+widths[i]-utf8.RuneCountInString(text)))
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

func indentOf(text string) string { return text[:len(text)-len(strings.TrimLeft(text, " "))] }

// wrap breaks text between words, and words that are longer than width. An
// indent is kept on every line.
func wrap(text string, width int) []string {
	words := strings.Fields(text)
	indent := indentOf(text)
	var lines []string
	line := []rune(indent)
	for _, word := range words {
		rest := []rune(word)
		if len(line) > len(indent) {
			if len(line)+1+len(rest) <= width {
				line = append(append(line, ' '), rest...)
				continue
			}
			lines, line = append(lines, string(line)), []rune(indent)
		}
		for len(line)+len(rest) > width {
			n := width - len(line)
			lines, line, rest = append(lines, string(append(line, rest[:n]...))), []rune(indent), rest[n:]
		}
		line = append(line, rest...)
	}
	return append(lines, string(line))
}
