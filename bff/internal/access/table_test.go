package access_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"

	"github.com/onbehalf-dev/onbehalf/bff/internal/access"
)

// full is a file with all that a rule can say.
func full() *fileProto {
	feed := rpc("Feed", &rule{Stream: principalv1.StreamLife_STREAM_LIFE_SESSION, MaxDelegations: proto.Uint32(0)})
	feed.ClientStreaming, feed.ServerStreaming = new(true), new(true)
	upload := rpc("Upload", nil)
	upload.ClientStreaming = new(true)
	return file("full.proto", "shop.v1", "Shop", &rule{AnyRoles: []string{"buyer", "seller"}},
		rpc("Visit", &rule{Anonymous: true}), feed, upload,
		rpc("Pay", &rule{
			Kinds: []principalv1.Kind{3, 2, 1}, AllScopes: []string{"pay", "spend"}, AnyScopes: []string{"eur", "usd"}, Callers: []string{"orders", "billing"},
			MaxDelegations: proto.Uint32(2), Acr: []string{"gold", "silver"}, MaxRevocationAge: durationpb.New(1500 * 1e6), OnlineCheck: true, SingleUse: true,
		}))
}

func bare() *fileProto { return file("bare.proto", "shop.v1", "Bare", nil, rpc("Forgotten", nil)) }

const (
	narrow = `
METHOD       WHO             SCOPES   ROLES   CALLERS  STREAM   FURTHER
shop.v1.Bare
  Forgotten  REFUSED: no     -        -       -        -        -
             rule
shop.v1.Shop
  Feed       human, service  -        -       -        bidi,    max delegations
                                                       session  0
  Pay        human, agent,   pay and  -       orders   -        max delegations
             service         spend            or                2; acr gold or
                             and              billing           silver; max
                             (eur or                            revocation age
                             usd)                               1.5s; online
                                                                check; single
                                                                use
  Upload     human, service  -        buyer   -        client   default
                                      or
                                      seller
  Visit      anyone          -        -       -        -        -
`
	wide = `
METHOD       WHO               SCOPES            ROLES     CALLERS    STREAM   FURTHER
shop.v1.Bare
  Forgotten  REFUSED: no rule  -                 -         -          -        -
shop.v1.Shop
  Feed       human, service    -                 -         -          bidi,    max delegations 0
                                                                      session
  Pay        human, agent,     pay and spend     -         orders or  -        max delegations 2; acr gold or silver; max revocation age 1.5s; online check;
             service           and (eur or usd)            billing             single use
  Upload     human, service    -                 buyer or  -          client   default
                                                 seller
  Visit      anyone            -                 -         -          -        -
`
)

func TestText(t *testing.T) {
	t.Parallel()
	table := mustLoad(t, full(), bare())
	for width, want := range map[int]string{80: narrow, 160: wide} {
		if d := cmp.Diff(want, "\n"+text(t, table, width)); d != "" {
			t.Errorf("%d: %s", width, d)
		}
	}
}

// A field that is added to the rule must not be forgotten here.
func TestEveryFieldOfARuleIsShown(t *testing.T) {
	t.Parallel()
	empty := text(t, mustLoad(t, file("a.proto", "shop", "Orders", nil, rpc("Get", &rule{}))), 160)
	fields := new(rule).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		r := new(rule)
		set(t, r.ProtoReflect(), field)
		table := mustLoad(t, file("a.proto", "shop", "Orders", nil, rpc("Get", r)))
		if text(t, table, 160) == empty {
			t.Errorf("%s is not shown in the text", field.Name())
		}
		if rows(t, table)["/shop.Orders/Get"].Rule[string(field.Name())] == nil {
			t.Errorf("%s is not in the JSON", field.Name())
		}
	}
}

// set gives a field a value that is not its default's meaning.
func set(t *testing.T, m protoreflect.Message, field protoreflect.FieldDescriptor) {
	t.Helper()
	var v protoreflect.Value
	switch field.Kind() {
	case protoreflect.BoolKind:
		v = protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		v = protoreflect.ValueOfString("value")
	case protoreflect.Uint32Kind:
		v = protoreflect.ValueOfUint32(2)
	case protoreflect.EnumKind:
		v = protoreflect.ValueOfEnum(2)
	case protoreflect.MessageKind:
		v = protoreflect.ValueOfMessage(durationpb.New(90 * 1e9).ProtoReflect())
	default:
		t.Fatalf("%s: this test has no value for it", field.Name())
	}
	if field.IsList() {
		m.Mutable(field).List().Append(v)
		return
	}
	m.Set(field, v)
}

func TestWho(t *testing.T) {
	t.Parallel()
	got := rows(t, mustLoad(t, full(), bare()))
	for name, want := range map[string][]string{
		"Bare/Forgotten": {}, "Shop/Visit": {"anyone"}, "Shop/Upload": {"human", "service"}, "Shop/Feed": {"human", "service"},
		"Shop/Pay": {"human", "agent", "service"},
	} {
		if d := cmp.Diff(want, got["/shop.v1."+name].Who); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestAsk(t *testing.T) {
	t.Parallel()
	table := mustLoad(t, full(), bare(), file("open.proto", "shop.v1", "Open", nil, rpc("Get", &rule{})))
	payer := access.Caller{Kind: principal.KindAgent, Delegations: 1, Scopes: []string{"usd", "spend", "pay", "pay"}, Service: "orders", ACR: "gold"}
	but := func(change func(*access.Caller)) access.Caller {
		c := payer
		change(&c)
		return c
	}
	for _, tt := range []struct {
		method string
		caller access.Caller
		want   string
	}{
		{"Bare/Forgotten", access.Caller{}, "missing"},
		{"Bare/Forgotten", access.Caller{Kind: principal.KindHuman}, "no_rule"},
		{"Open/Get", access.Caller{}, "missing"},
		{"Open/Get", access.Caller{Kind: principal.KindHuman}, ""},
		{"Open/Get", access.Caller{Kind: principal.KindService}, ""},
		{"Open/Get", access.Caller{Kind: principal.KindAgent}, "kind"},
		{"Shop/Visit", access.Caller{}, ""},
		{"Shop/Visit", access.Caller{Kind: principal.KindAgent}, ""},
		{"Shop/Upload", access.Caller{Kind: principal.KindHuman}, "role"},
		{"Shop/Upload", access.Caller{Kind: principal.KindHuman, Roles: []string{"z", "seller", "a"}}, ""},
		{"Shop/Pay", payer, ""},
		{"Shop/Pay", but(func(c *access.Caller) { c.Kind, c.Delegations = principal.KindHuman, 0 }), ""},
		{"Shop/Pay", but(func(c *access.Caller) { c.Scopes = []string{"pay", "eur"} }), "scope"},
		{"Shop/Pay", but(func(c *access.Caller) { c.Scopes = []string{"pay", "spend"} }), "scope"},
		{"Shop/Pay", but(func(c *access.Caller) { c.Service = "edge" }), "caller"},
		{"Shop/Pay", but(func(c *access.Caller) { c.Service = "" }), "caller"},
		{"Shop/Pay", but(func(c *access.Caller) { c.Delegations = 2 }), ""},
		{"Shop/Pay", but(func(c *access.Caller) { c.Delegations = 3 }), "delegations"},
		{"Shop/Pay", but(func(c *access.Caller) { c.ACR = "" }), "acr"},
	} {
		for range 2 { // a method that is single use can be asked about again
			if err := table.Ask(t.Context(), tt.caller); err != nil {
				t.Fatalf("%+v: %v", tt.caller, err)
			}
		}
		got := rows(t, table)["/shop.v1."+tt.method].As
		if got.Reason != tt.want || got.Allowed != (tt.want == "") {
			t.Errorf("%s %+v: %+v, want %q", tt.method, tt.caller, got, tt.want)
		}
	}
	for name, caller := range map[string]access.Caller{
		"scopes":    {Kind: principal.KindHuman, Scopes: []string{"a b"}},
		"presenter": {Kind: principal.KindHuman, Service: "Not A Name"},
		"delegati":  {Kind: principal.KindAgent, Delegations: 1000},
		"kind":      {Kind: 9},
	} {
		if err := table.Ask(t.Context(), caller); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	if err := mustLoad(t, full()).Check(); err != nil {
		t.Error(err)
	}
	if err := mustLoad(t, full(), bare()).Check(); err == nil || !strings.Contains(err.Error(), "no access rule for /shop.v1.Bare/Forgotten: write option") {
		t.Error(err)
	}
}

// A line that a terminal breaks is hard to read; a cell that is cut would be wrong.
func TestTextFits(t *testing.T) {
	t.Parallel()
	scope := "https://auth.example/scopes/orders.readonly.and.nothing.else"
	scoped := &rule{AllScopes: []string{"orders:read", scope}, AnyRoles: []string{"first", "second", "third"}}
	table := mustLoad(t, full(), file("a.proto", "shop.v1", "Long", scoped, rpc(strings.Repeat("Very", 15)+"LongName", nil)),
		file("z.proto", "shop.v1", "Zebra", scoped, rpc("Last", nil)))
	if err := table.Ask(t.Context(), access.Caller{Kind: principal.KindHuman}); err != nil {
		t.Fatal(err)
	}
	for _, width := range []int{0, 80, 100, 120, 160} {
		out := text(t, table, width)
		for line := range strings.Lines(out) {
			if n := utf8.RuneCountInString(line) - 1; n > max(width, 80) || strings.HasSuffix(line, " \n") {
				t.Errorf("%d: %d characters: %s", width, n, line)
			}
		}
		// The lines of the last row's cell, put together again.
		_, last, _ := strings.Cut(out, "shop.v1.Zebra\n")
		from, to := strings.Index(out, "SCOPES"), strings.Index(out, "ROLES")
		var cell strings.Builder
		for line := range strings.Lines(last) {
			cell.WriteString(strings.TrimSpace(line[from:min(to, len(line))]))
		}
		if strings.ReplaceAll(cell.String(), " ", "") != "orders:readand"+scope {
			t.Errorf("%d: a cell is cut: %s\n%s", width, &cell, out)
		}
	}
}

func TestMarkdownShowsTextAsItIs(t *testing.T) {
	t.Parallel()
	table := mustLoad(t, file("a.proto", "shop", "Orders", nil, rpc("Get_It", &rule{AllScopes: []string{"a|b", "<b>", "\x1b[2J", "`x`"}})), bare())
	var out bytes.Buffer
	if err := table.Markdown(&out); err != nil {
		t.Fatal(err)
	}
	want := "## shop.Orders\n\n| Method | Who | Scopes |\n|---|---|---|\n" +
		"| Get\\_It | human, service | a\\|b and \\<b\\> and ?\\[2J and \\`x\\` |\n\n" +
		"## shop.v1.Bare\n\n| Method | Who | Scopes |\n|---|---|---|\n| Forgotten | REFUSED: no rule | - |\n"
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func BenchmarkTable(b *testing.B) {
	var methods []*methodProto
	for i := range 1000 {
		methods = append(methods, rpc(fmt.Sprintf("Get%d", i), &rule{}))
	}
	set := encode(b, accessProto(), file("a.proto", "shop", "Orders", nil, methods...))
	for b.Loop() {
		if _, err := load(b, set, ""); err != nil {
			b.Fatal(err)
		}
	}
}
