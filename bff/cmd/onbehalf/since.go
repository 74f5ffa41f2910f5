package main

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// sinceTime is a time, or how long ago it was.
type sinceTime time.Time

// UnmarshalText is called by kong.
func (s *sinceTime) UnmarshalText(text []byte) error {
	value := string(text)
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, value); err == nil {
			*s = sinceTime(t)
			return nil
		}
	}
	ago, err := time.ParseDuration(value)
	if days, ok := strings.CutSuffix(value, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 15)
		ago = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || ago < 0 {
		return errors.New("write it as 72h, 7d, 2026-01-31 or 2026-01-31T15:04:05Z")
	}
	*s = sinceTime(time.Now().Add(-ago))
	return nil
}
