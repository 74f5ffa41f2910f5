// Package wiretext says which characters the wire format keeps out of names, so
// that the edge can say what is wrong before a principal cannot be signed.
package wiretext

import "unicode"

// IsHidden reports whether r is a control character, or turns or hides the text
// around it: a name that shows as another one deceives every reader of a log.
func IsHidden(r rune) bool {
	return r == '\ufeff' || r == '\u2028' || r == '\u2029' || unicode.In(r, unicode.Cc, unicode.Bidi_Control)
}
