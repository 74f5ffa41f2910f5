package inspect

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// plain returns s if it shows as what it is, and else quoted, with what cannot be
// seen written out. A name that moves the cursor, hides a part of itself, or has
// spaces and so looks like several words of this page, would deceive the reader.
func plain(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) || unicode.Is(unicode.Mn, r) || strings.ContainsRune(" \"'`\\│▼→", r) {
			return strconv.QuoteToASCII(s)
		}
	}
	return s
}

func words(list []string) string {
	all := make([]string, 0, len(list))
	for _, s := range list {
		all = append(all, plain(s))
	}
	return strings.Join(all, " ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// span is a duration of at least 0 in at most two units: 45s, 4m50s, 5h2m, 3d4h.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	day := 24 * time.Hour
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return units(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return units(d, time.Hour, "h", time.Minute, "m")
	case d < 366*day:
		return units(d, day, "d", time.Hour, "h")
	default:
		return fmt.Sprintf("%d years", d/(365*day))
	}
}

func units(d, large time.Duration, largeName string, small time.Duration, smallName string) string {
	s := fmt.Sprintf("%d%s", d/large, largeName)
	if rest := d % large / small; rest > 0 {
		s += fmt.Sprintf("%d%s", rest, smallName)
	}
	return s
}
