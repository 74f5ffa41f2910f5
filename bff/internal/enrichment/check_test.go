package enrichment_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff/enrich"
	"github.com/onbehalf-dev/onbehalf/bff/internal/enrichment"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 257)
	half := strings.Repeat("x", 256)
	nine := make(map[string]string)
	for _, name := range numbered(9) {
		nine[name] = "x"
	}
	for want, out := range map[string]*enrich.Output{
		"roles: 17 of them, at most 16":                          {Roles: numbered(17)},
		"attributes: 9 of them, at most 8":                       {Attributes: nine},
		"workspace: 257 bytes, at most 256":                      {Workspace: long},
		"roles[1]: 257 bytes, at most 256":                       {Roles: []string{"a", long}},
		"attributes[0].value: 257 bytes, at most 256":            {Attributes: map[string]string{"a": long}},
		"attributes[0].name: 257 bytes, at most 256":             {Attributes: map[string]string{long: "a"}},
		"roles[0]: is empty":                                     {Roles: []string{""}},
		"roles[0]: has a control character":                      {Roles: []string{"admin\u202ereyub"}},
		"workspace: has a control character":                     {Workspace: "a\x00b"},
		"attributes[0].name: has a control character":            {Attributes: map[string]string{"a\nb": "x"}},
		"attributes[0].value: has a control character":           {Attributes: map[string]string{"a": "\u2066x\u2069"}},
		"roles[0]: is not valid UTF-8":                           {Roles: []string{"\xff"}},
		"attributes[0].value: is empty":                          {Attributes: map[string]string{"a": ""}},
		"attributes: the name workspace is taken; set workspace": {Attributes: map[string]string{"workspace": "a"}},
		"workspace: all fields are 513 bytes, at most 512; this one is the longest": {
			Workspace: half, Roles: []string{half[1:]}, Attributes: map[string]string{"a": "b"},
		},
	} {
		if err := enrichment.Check(out); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, out := range []*enrich.Output{
		{}, facts(), {Roles: numbered(16)}, {Workspace: half, Roles: []string{half}}, {Roles: []string{"a", "a"}, Workspace: "Zürich"},
	} {
		if err := enrichment.Check(out); err != nil {
			t.Error(err)
		}
	}
}

func TestNear(t *testing.T) {
	t.Parallel()
	for want, out := range map[string]*enrich.Output{
		"roles":     {Roles: numbered(9)},
		"workspace": {Workspace: strings.Repeat("x", 200), Roles: []string{strings.Repeat("y", 57)}},
	} {
		if near := enrichment.Near(out); near == nil || near.Field != want {
			t.Errorf("%v, want %s", near, want)
		}
	}
	if near := enrichment.Near(&enrich.Output{Roles: numbered(8), Workspace: "acme"}); near != nil {
		t.Error(near)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table := enrichment.NewTable([]enrich.Row{
		{Subject: "hm-alice", Issuer: provider, Workspace: "acme", Roles: []string{"buyer"}, Attributes: map[string]string{"plan": "gold"}},
		{Role: "staff", Workspace: "hq", Roles: []string{"auditor", "buyer"}, Attributes: map[string]string{"plan": "free", "floor": "2"}},
		{Tenant: "south", Roles: []string{"southern"}},
		{Issuer: "https://elsewhere.test", Subject: "hm-alice", Roles: []string{"admin"}},
		{Subject: "am-alice", Roles: []string{"bot"}},
	})
	for name, tt := range map[string]struct {
		in   enrich.Input
		want enrich.Output
	}{
		"several rows": {
			enrich.Input{Issuer: provider, Subject: "hm-alice", Tenant: "north", Roles: []string{"staff"}},
			enrich.Output{Workspace: "acme", Roles: []string{"auditor", "buyer"}, Attributes: map[string]string{"plan": "gold", "floor": "2"}},
		},
		"a tenant":       {enrich.Input{Subject: "hm-bob", Tenant: "south"}, enrich.Output{Roles: []string{"southern"}}},
		"nobody":         {enrich.Input{Issuer: provider, Subject: "hm-bob"}, enrich.Output{}},
		"another issuer": {enrich.Input{Issuer: "https://third.test", Subject: "hm-alice"}, enrich.Output{}},
		"another kind":   {enrich.Input{Issuer: provider, Subject: "am-alice"}, enrich.Output{Roles: []string{"bot"}}},
	} {
		got, err := table.Enrich(t.Context(), &tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Attributes) == 0 {
			got.Attributes = nil
		}
		if d := cmp.Diff(&tt.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestCheckRow(t *testing.T) {
	t.Parallel()
	for want, row := range map[string]enrich.Row{
		"subject: is not a subject":         {Subject: "alice", Roles: []string{"a"}},
		"subject: is not a subject; write":  {Subject: "hm-", Roles: []string{"a"}},
		": fits everybody":                  {Roles: []string{"a"}},
		": adds nothing":                    {Subject: "hm-alice"},
		"roles[0]: has a control character": {Subject: "hm-alice", Roles: []string{"\u202e"}},
	} {
		if found := enrichment.CheckRow(&row); len(found) != 1 || !strings.HasPrefix(found[0].Error(), want) {
			t.Errorf("%v, want %s", found, want)
		}
	}
	if found := enrichment.CheckRow(&enrich.Row{Subject: "hm-alice", Roles: []string{"a"}}); found != nil {
		t.Error(found)
	}
}
