package keyset

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxDepth is more than a key set with x5c or key_ops needs.
const maxDepth = 8

var errNotJSON = errors.New("keyset: not a JSON document in UTF-8")

// checkJSON refuses what two readers could take for different documents: above
// all a member that is there twice, of which some take the first and some the
// last.
func checkJSON(data []byte) error {
	if !utf8.Valid(data) || !json.Valid(data) {
		return errNotJSON
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // a number that does not fit a float is no fault here
	return checkValue(dec, 1)
}

func checkValue(dec *json.Decoder, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return errNotJSON
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("keyset: nested deeper than %d", maxDepth)
	}
	var seen map[json.Token]bool
	if open == '{' {
		seen = make(map[json.Token]bool)
	}
	for dec.More() {
		if seen != nil {
			name, err := dec.Token()
			if err != nil {
				return errNotJSON
			}
			if seen[name] {
				return fmt.Errorf("keyset: a member is there twice (at byte %d)", dec.InputOffset())
			}
			seen[name] = true
		}
		if err := checkValue(dec, depth+1); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return errNotJSON
	}
	return nil
}

// object is a JSON object whose member names are compared exactly, which
// decoding into a struct does not do.
type object map[string]json.RawMessage

// text returns a member that has to be there and to be a string.
func (o object) text(name string) (string, error) {
	raw, ok := o[name]
	if !ok {
		return "", fmt.Errorf("no %s", name)
	}
	var s string
	if raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", fmt.Errorf("%s is not a string", name)
	}
	return s, nil
}

// is checks a member that has one possible value.
func (o object) is(name, want string) error {
	s, err := o.text(name)
	if err == nil && s != want {
		err = fmt.Errorf("%s is not %q", name, want)
	}
	return err
}

// coordinate returns a member that holds 32 bytes in base64url.
func (o object) coordinate(name string) ([]byte, error) {
	s, err := o.text(name)
	if err != nil {
		return nil, err
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 32 || len(s) != 43 { // the decoder skips line breaks
		return nil, fmt.Errorf("%s is not 32 bytes in unpadded base64url", name)
	}
	return b, nil
}

// maxSeconds is the end of the year 9999, the last one that RFC 3339 can write.
const maxSeconds = 253402300799

// seconds returns a member that may be absent: a time, in whole seconds.
func (o object) seconds(name string) (time.Time, error) {
	raw, ok := o[name]
	if !ok {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 1 || n > maxSeconds {
		return time.Time{}, fmt.Errorf("%s is not a time in whole seconds", name)
	}
	return time.Unix(n, 0).UTC(), nil
}
