package observed

import (
	"bufio"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// page writes lines that are not too long.
type page struct {
	w     *bufio.Writer
	width int
}

// line writes text behind an indent, and goes on below it where it is too long.
func (p *page) line(indent, text string) {
	for _, line := range wrap(strings.Map(visible, text), p.width-len(indent)) {
		fmt.Fprintln(p.w, strings.TrimRight(indent+line, " "))
		indent = strings.Repeat(" ", len(indent))
	}
}

// visible keeps what others wrote from moving the cursor.
func visible(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return '?'
}

// wrap breaks text between words, and words that are longer than width.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
		for utf8.RuneCountInString(line) > width {
			runes := []rune(line)
			lines, line = append(lines, string(runes[:width])), string(runes[width:])
		}
	}
	return append(lines, line)
}
