package hsm_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// Z01: the PIN shows in nothing that fmt, slog or JSON make of what there is.
func TestZ01PINIsNotShown(t *testing.T) {
	t.Parallel()
	tk := newToken(t)
	config := tk.config()
	v := open(t, config)
	_, key := create(t, v)
	var logged bytes.Buffer
	handlers := []slog.Handler{
		slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}),
		slog.NewJSONHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}),
	}
	for name, value := range map[string]any{
		"config": config, "config pointer": &config, "vault": v, "key": key,
		"inside": struct{ a, b, c any }{config, v, key}, "exported": struct{ A, B, C any }{config, v, key},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%p", "%T"} {
			if text := fmt.Sprintf(verb, value); shows(text) {
				t.Errorf("%s: %s shows %s", name, verb, text)
			}
		}
		if text, err := json.Marshal(value); shows(string(text)) || err != nil && shows(err.Error()) {
			t.Errorf("%s: JSON shows %s", name, text)
		}
		for _, h := range handlers {
			slog.New(h).Debug("opened", "value", value)
		}
	}
	if shows(logged.String()) {
		t.Errorf("logged: %s", logged.String())
	}
	if got, want := fmt.Sprintf("%+v %+v", v, key), "hsm.Vault{"+tk.label+"} hsm.key{"+idOf(t, key)+"}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func shows(text string) bool {
	return strings.Contains(text, goodPIN) || strings.Contains(text, fmt.Sprintf("%x", goodPIN))
}
