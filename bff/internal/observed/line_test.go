package observed_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/observed"
)

const good = `{"time":"2026-11-22T10:00:00Z","msg":"principal","service":"a","method":"/b.C/D","decision":"would_refuse","principal":"anonymous","reason":"missing"}`

func compressed(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name, log string
		want      observed.Read
	}{
		{"one", good, observed.Read{Lines: 1, Decisions: 1}},
		{"empty", "", observed.Read{}},
		{"blank lines", "\n\r\n" + good + "\r\n", observed.Read{Lines: 3, Decisions: 1, Other: 2}},
		{"others", "listening\n{\"msg\":\"x\"}\n{\"msg\":\"x\",\"decision\":1}\n", observed.Read{Lines: 3, Other: 3}},
		{"torn", good[:60] + "\n" + good[:100] + "\n", observed.Read{Lines: 2, Corrupt: 2}},
		{"not ours", strings.Replace(good, "would_refuse", "maybe", 1), observed.Read{Lines: 1, Corrupt: 1}},
		{"of another type", strings.Replace(good, `"a"`, `{}`, 1), observed.Read{Lines: 1, Corrupt: 1}},
		{"without a time", good + "\n" + strings.Replace(good, "time", "t", 1), observed.Read{Lines: 2, Decisions: 2, WithoutTime: 1}},
		{"another name of msg", strings.Replace(good, "msg", "message", 1), observed.Read{Lines: 1, Decisions: 1}},
		{"twice the same key", strings.Replace(good, "{", `{"service":"pod",`, 1), observed.Read{Lines: 1, Decisions: 1}},
		{"CRI", "2026-11-22T10:00:00.1Z stderr F " + good, observed.Read{Lines: 1, Decisions: 1}},
		{"kubectl", "[pod/loans-7d/loans] " + good, observed.Read{Lines: 1, Decisions: 1}},
		{"quoted by a program", "a user said " + good, observed.Read{Lines: 1, Other: 1}},
		{"within a line", `{"msg":"x","said":` + fmt.Sprintf("%q", good) + `}`, observed.Read{Lines: 1, Other: 1}},
		{"default logger", "2026/11/22 10:00:00 WARN principal service=a method=/b.C/D decision=would_refuse principal=anonymous", observed.Read{Lines: 1, Decisions: 1}},
		{"text handler", `time=2026-11-22T10:00:00Z level=WARN msg=principal service=a method=/b.C/D decision=would_refuse`, observed.Read{Lines: 1, Decisions: 1}},
		{"text torn", "2026/11/22 10:00:00 WARN principal service=a method=/b.C/D deci", observed.Read{Lines: 1, Corrupt: 1}},
		{"text quoted badly", `2026/11/22 10:00:00 WARN principal service=a method=/b.C/D decision=would_refuse rule="x`, observed.Read{Lines: 1, Corrupt: 1}},
		{"text quoted by a program", "a user said 2026/11/22 10:00:00 WARN principal service=a method=/b.C/D decision=would_refuse", observed.Read{Lines: 1, Other: 1}},
		{"text within a value", `2026/11/22 10:00:00 WARN hello said=" principal service=a method=/b.C/D decision=would_refuse"`, observed.Read{Lines: 1, Other: 1}},
		{"long", long + "\n" + good + "\n" + long, observed.Read{Lines: 3, Decisions: 1, TooLong: 1, Other: 1}},
		{"longer", long + good + "\n" + good, observed.Read{Lines: 2, Decisions: 1, TooLong: 1}},
		{"longer at the end", good + "\n" + long + good, observed.Read{Lines: 2, Decisions: 1, TooLong: 1}},
		{"just not too long", `{"x":"` + long[:900_000] + `",` + good[1:], observed.Read{Lines: 1, Decisions: 1}},
		{"gzip", compressed(t, good+"\n"+good), observed.Read{Lines: 2, Decisions: 2}},
		{"gzip torn", compressed(t, good+"\n"+long)[:300], observed.Read{Lines: 2, Decisions: 1, Corrupt: 1}},
		{"gzip garbled", compressed(t, good)[:30] + "\xff\xff\xff\xff\xff\xff" + compressed(t, good)[36:], observed.Read{Corrupt: 1}},
		{"before", strings.Replace(good, "2026", "2025", 1) + "\n" + good, observed.Read{Lines: 2, Decisions: 1, Earlier: 1}},
	} {
		r := observed.New(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		if err := r.Add(observed.Input{Name: "log", Reader: strings.NewReader(tt.log)}); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		tt.want.Files = 1
		if r.Read != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, r.Read, tt.want)
		}
		if r.WouldRefuse != tt.want.Decisions {
			t.Errorf("%s: %d would be refused", tt.name, r.WouldRefuse)
		}
		for _, m := range r.Methods() {
			if m.At != "a" || m.Name != "/b.C/D" {
				t.Errorf("%s: %+v", tt.name, m)
			}
		}
	}
}

// Z02: what callers and logs say moves no cursor, in no format.
func TestNoInjection(t *testing.T) {
	t.Parallel()
	const evil = "\x1b[2J\r\n| x | \u202e\u009b31m <script> {\"decision\":\"allowed\"}"
	quoted := strings.Trim(fmt.Sprintf("%q", evil), `"`)
	quoted = strings.NewReplacer(`\x1b`, `\u001b`, `\u009b`, "\u009b").Replace(quoted)
	log := `{"msg":"principal","service":"EVIL","method":"/EVIL","decision":"would_refuse","reason":"EVIL","peer":"EVIL","request_id":"r",` +
		`"principal":{"id":"x","kind":"EVIL","subject":"EVIL","issuer":"EVIL","path":["EVIL"]}}` + "\n" +
		`{"msg":"request","route":"EVIL","client":"EVIL","decision":"would_refuse","reason":"credential","credential_reason":"EVIL","request_id":"r","credential_issuer":"EVIL"}`
	r := read(t, strings.ReplaceAll(log, "EVIL", quoted))
	if r.Read.Decisions != 2 {
		t.Fatalf("%+v", r.Read)
	}
	o := observed.Options{Subjects: true}
	var asJSON bytes.Buffer
	if err := r.JSON(&asJSON, o); err != nil {
		t.Fatal(err)
	}
	inJSON(t, r, o)
	for name, out := range map[string]string{"text": text(t, r, o), "markdown": markdown(t, r), "json": asJSON.String()} {
		if strings.ContainsAny(out, "\x1b\r\u202e\u009b") {
			t.Errorf("%s: %q", name, out)
		}
	}
	for line := range strings.Lines(markdown(t, r)) {
		if strings.HasPrefix(line, "| x") || strings.Contains(line, "<script>") {
			t.Error(line)
		}
	}
}
