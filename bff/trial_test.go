package bff_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// What becomes of a request. All else is the reason of its audit record.
const (
	passes   = ""
	atServer = "at the server" // refused by net/http, which leaves no record
	breaks   = "breaks"        // turns out to be malformed while it is answered
)

// forgedValue stands in every header that must not come through. It is long
// enough to be found in any place.
const forgedValue = "canary-forged-value"

// trial is a request and what becomes of it.
type trial struct {
	wire

	name      string
	becomes   string // in HTTP/1.1
	becomes2  string // in HTTP/2, if not the same
	differs   bool   // becomes2 counts
	anonymous bool   // without the credential that the others have
	anew      bool   // gets a principal of its own
	why       string // its credential is refused, if that is looked at
	minted    bool   // gets a principal though its path is not below /relay
	exact     bool   // the path is as it stands here
	onlyOne   bool   // cannot be written in HTTP/2
	onlyTwo   bool
}

func in(version string, list []trial) []trial {
	for i := range list {
		list[i].onlyOne, list[i].onlyTwo = version == "HTTP/1.1", version == "HTTP/2"
	}
	return list
}

// bench runs trials on one site and sums them up.
type bench struct {
	*site

	token, stolen, minted string
	places                map[string]trial // by the path of the request
	others                map[string]int   // of the records of other requests, by what became of them
	bodies                map[int]string   // by status, what the edge answers
	answers               strings.Builder
}

func newBench(s *site) *bench {
	s.t.Helper()
	token := s.provider.token("alice", nil)
	return &bench{
		site: s, token: token, stolen: captured(s.edge), minted: s.get("/relay", token).Get(principal.HeaderName),
		places: make(map[string]trial), others: map[string]int{passes: 2}, bodies: make(map[int]string),
	}
}

// run tries each on a path of its own. STOLEN, TOKEN and PATH are filled in.
func (b *bench) run(list []trial) {
	b.t.Helper()
	for _, tr := range list {
		if tr.onlyOne && b.two || tr.onlyTwo && !b.two {
			continue
		}
		if b.two && tr.differs {
			tr.becomes = tr.becomes2
		}
		if tr.path == "" && !tr.exact {
			tr.path = "/relay"
		}
		if !tr.exact {
			tr.path = fmt.Sprintf("%s/%d", tr.path, len(b.places))
		}
		fill := strings.NewReplacer("STOLEN", b.stolen, "TOKEN", b.token, "PATH", tr.path)
		fields := slices.Clone(tr.fields)
		for i := range fields {
			fields[i].value = fill.Replace(fields[i].value)
		}
		if !tr.anonymous {
			fields = append(fields, field{"authorization", "Bearer " + b.token})
		}
		tr.fields, tr.trailer = fields, slices.Clone(tr.trailer)
		for i := range tr.trailer {
			tr.trailer[i].value = fill.Replace(tr.trailer[i].value)
		}
		if !tr.exact {
			b.places[tr.path] = tr
		} else if tr.becomes != atServer {
			b.others[tr.becomes]++
		}
		b.try(tr)
	}
}

func (b *bench) try(tr trial) {
	b.t.Helper()
	bytes, count := b.upstream.took.Load(), b.upstream.count()
	a := b.send(tr.wire)
	b.answers.WriteString(a.text())
	if tr.becomes == passes {
		if a.code != http.StatusOK || b.upstream.count() != count+1 {
			b.t.Errorf("%s: status %d, %d requests to the upstream", tr.name, a.code, b.upstream.count()-count)
			return
		}
		b.checkSeen(tr)
		return
	}
	if tr.becomes == breaks {
		if b.upstream.count() > count {
			b.checkSeen(tr)
		}
		return
	}
	if b.upstream.took.Load() != bytes || b.upstream.count() != count {
		b.t.Errorf("%s: reached the upstream", tr.name)
	}
	want := map[string]int{"target": 400, "no_route": 404, "missing": 401, "credential": 401}[tr.becomes]
	switch {
	case tr.becomes == atServer && (a.code == 0 || slices.Contains([]int{400, 417, 431, 501, 505}, a.code)):
	case tr.becomes == atServer || a.code != want:
		b.t.Errorf("%s: status %d, want that of %s", tr.name, a.code, tr.becomes)
	case b.bodies[a.code] == "":
		b.bodies[a.code] = a.body
	case b.bodies[a.code] != a.body:
		b.t.Errorf("%s: answered %q, others %q", tr.name, a.body, b.bodies[a.code])
	}
}

// checkSeen looks at what an upstream of the CGI kind makes of the last header.
func (b *bench) checkSeen(tr trial) {
	b.t.Helper()
	name, h := tr.name, b.upstream.last()
	var want []string
	switch {
	case !strings.HasPrefix(tr.path, "/relay") && !tr.minted:
	case tr.anew:
		b.principal("orders", h)
		want = h["X-Principal-Bin"]
	default:
		want = []string{b.minted}
	}
	if got := folded(h, "HTTP_X_PRINCIPAL_BIN"); !slices.Equal(got, want) || !slices.Equal(h["X-Principal-Bin"], want) {
		b.t.Errorf("%s: the upstream finds %d principals, or another one", name, len(got))
	}
	for key, values := range h {
		text := key + ": " + strings.Join(values, "\n")
		for _, forbidden := range []string{b.stolen, forgedValue, b.token[len(b.token)-40:]} {
			if strings.Contains(text, forbidden) {
				b.t.Errorf("%s: came through: %s", name, key)
			}
		}
		if key != "X-Principal-Bin" && principal.IsAlias(key) {
			b.t.Errorf("%s: came through: %s", name, key)
		}
	}
}

// finish stops the edge and looks at its records, of which each request that it
// saw has left exactly one, and into everything that was written for a piece of
// a secret.
func (b *bench) finish() {
	b.t.Helper()
	got, others := make(map[string][]record), make(map[string]int)
	for _, r := range b.records() {
		path := r.text("path")
		if _, placed := b.places[path]; placed {
			got[path] = append(got[path], r)
		} else {
			others[r.text("reason")]++
		}
	}
	if !maps.Equal(others, b.others) {
		b.t.Errorf("other records by reason: %v, want %v", others, b.others)
	}
	for _, path := range slices.Sorted(maps.Keys(b.places)) {
		tr := b.places[path]
		switch list := got[path]; {
		case len(list) == 0 && (tr.becomes == atServer || tr.becomes == breaks):
		case len(list) != 1 || tr.becomes == atServer:
			b.t.Errorf("%s: %d records", tr.name, len(list))
		case tr.becomes == breaks:
		case tr.becomes == passes && list[0].text("decision") != "allowed", list[0].text("reason") != tr.becomes:
			b.t.Errorf("%s: %v", tr.name, list[0])
		case tr.why != "" && list[0].text("credential_reason") != tr.why:
			b.t.Errorf("%s: credential refused for %q, want %q", tr.name, list[0].text("credential_reason"), tr.why)
		}
	}
	records, err := os.ReadFile(filepath.Join(b.dir, "audit.jsonl"))
	if err != nil {
		b.t.Fatal(err)
	}
	secrets := []string{b.token[len(b.token)-40:], b.stolen[len(b.stolen)-40:], b.minted[len(b.minted)-40:], forgedValue}
	for sink, text := range map[string]string{"log": b.log.String(), "audit": string(records), "answers": b.answers.String()} {
		for _, secret := range secrets {
			if i := strings.Index(text, secret); i >= 0 {
				b.t.Errorf("Z01, %s: %s", sink, text[max(0, i-200):i])
			}
		}
	}
}

// eachDoorTries runs trials through each door.
func eachDoorTries(t *testing.T, s setup, list []trial) {
	t.Helper()
	eachDoor(t, s, func(_ *testing.T, s *site) {
		b := newBench(s)
		b.run(list)
		b.finish()
	})
}
