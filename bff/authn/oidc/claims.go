package oidc

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc/internal/strictjson"
)

// lastDate is the end of the year 9999, in seconds since the epoch. A later
// date is a mistake, and far later ones overflow.
const lastDate = 253402300799

// claims are those of a token whose signature has verified. Names match
// exactly, unlike with encoding/json. Errors name the claim as the
// configuration does, and never hold its value.
type claims struct {
	object strictjson.Object
}

func refuse(reason authn.Reason, detail string) error {
	return &authn.Error{Reason: reason, Detail: detail}
}

// find returns the claim at path, see [Issuer]. Null is as good as absent.
func (c claims) find(path string) (json.RawMessage, bool) {
	raw, ok := find(c.object.Get, path)
	return raw, ok && string(raw) != "null"
}

// has reports whether there is a claim of this name at all, even null.
func (c claims) has(name string) bool {
	_, ok := c.object.Get(name)
	return ok
}

func find(get func(string) (json.RawMessage, bool), path string) (json.RawMessage, bool) {
	if raw, ok := get(path); ok {
		return raw, true
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		raw, ok := get(path[:i])
		if !ok {
			continue
		}
		var inner map[string]json.RawMessage
		if json.Unmarshal(raw, &inner) != nil {
			continue
		}
		getInner := func(name string) (json.RawMessage, bool) {
			raw, ok := inner[name]
			return raw, ok
		}
		if raw, ok := find(getInner, path[i+1:]); ok {
			return raw, true
		}
	}
	return nil, false
}

// text returns a claim that is a string, and "" for one that is absent.
func (c claims) text(path string) (string, error) {
	raw, ok := c.find(path)
	if !ok {
		return "", nil
	}
	s, ok := strictjson.Text(raw)
	if !ok {
		return "", refuse(authn.ReasonClaims, path+" is not a string")
	}
	return s, nil
}

// fact is text with the limits of a principal's strings, where the claim is there.
func (c claims) fact(path string) (string, error) {
	s, err := c.text(path)
	if err != nil || s == "" {
		return "", err
	}
	if p := textProblem(s); p != "" {
		return "", refuse(authn.ReasonClaims, path+" "+p)
	}
	return s, nil
}

// scalar returns a claim that is a string, or the JSON text of one that is a
// boolean or a number.
func (c claims) scalar(path string) (string, bool) {
	raw, ok := c.find(path)
	if !ok || raw[0] == '{' || raw[0] == '[' {
		return "", false
	}
	if raw[0] == '"' {
		return strictjson.Text(raw)
	}
	return string(raw), true
}

// texts returns a claim that is an array of strings, or one string.
func (c claims) texts(path string) (list []string, single bool, err error) {
	raw, ok := c.find(path)
	if !ok {
		return nil, false, nil
	}
	if s, ok := strictjson.Text(raw); ok {
		return []string{s}, true, nil
	}
	list, ok = asStrings(raw)
	if !ok {
		return nil, false, refuse(authn.ReasonClaims, path+" is neither a string nor an array of strings")
	}
	return list, false, nil
}

// date returns a NumericDate (RFC 7519, section 2), without its fraction, and
// the zero time for one that is absent.
func (c claims) date(name string) (time.Time, error) {
	raw, ok := c.find(name)
	if !ok {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseFloat(string(raw), 64) // fails for all but a number
	if err != nil || seconds < 0 || seconds > lastDate {
		return time.Time{}, refuse(authn.ReasonTime, name+" is not a date")
	}
	return time.Unix(int64(seconds), 0), nil
}

func asStrings(raw json.RawMessage) ([]string, bool) {
	var elements []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &elements) != nil {
		return nil, false
	}
	list := make([]string, len(elements))
	for i, element := range elements {
		var ok bool
		if list[i], ok = strictjson.Text(element); !ok {
			return nil, false
		}
	}
	return list, true
}
