package access_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

var agents = &rule{Kinds: []principalv1.Kind{principalv1.Kind_KIND_AGENT}}

func TestSyntaxes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fileProto){
		"proto2": func(f *fileProto) { f.Syntax = nil },
		"proto3": func(*fileProto) {},
		"2023": func(f *fileProto) {
			f.Syntax, f.Edition = new("editions"), descriptorpb.Edition_EDITION_2023.Enum()
		},
		"2024": func(f *fileProto) {
			f.Syntax, f.Edition = new("editions"), descriptorpb.Edition_EDITION_2024.Enum()
		},
	} {
		f := file("a.proto", "shop", "Orders", nil, rpc("Get", agents))
		change(f)
		if got := rows(t, mustLoad(t, f))["/shop.Orders/Get"]; len(got.Who) != 1 || got.Who[0] != "agent" {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Whoever has no registry copies access.proto, and may put it anywhere.
func TestCopyOfAccessProto(t *testing.T) {
	t.Parallel()
	f := file("a.proto", "shop", "Orders", &rule{AllScopes: []string{"read"}}, rpc("Get", nil), rpc("Quote", agents))
	copied := accessProto()
	copied.Name = new("third_party/access.proto")
	copied.Options.GoPackage = new("shop.example/third_party/access")
	f.Dependency = []string{copied.GetName()}
	table, err := load(t, encode(t, copied, f), "")
	if err != nil {
		t.Fatal(err)
	}
	got := rows(t, table)
	if m := got["/shop.Orders/Quote"]; len(m.Who) != 1 || m.Who[0] != "agent" || m.Default {
		t.Errorf("%v", m)
	}
	if m := got["/shop.Orders/Get"]; !m.Default || m.Rule["all_scopes"].([]any)[0] != "read" {
		t.Errorf("%v", m)
	}
}

// A rule that cannot be read whole is no table: what is left of it may admit more.
func TestRuleOfALaterVersion(t *testing.T) {
	t.Parallel()
	later := &rule{AllScopes: []string{"read"}}
	later.ProtoReflect().SetUnknown([]byte{0x98, 0x06, 1}) // field 99
	_, err := load(t, encode(t, accessProto(), file("a.proto", "shop", "Orders", nil, rpc("Get", later))), "")
	if err == nil || !strings.Contains(err.Error(), "shop.Orders/Get") || !strings.Contains(err.Error(), "upgrade") {
		t.Error(err)
	}
}

func TestBadSets(t *testing.T) {
	t.Parallel()
	good := file("a.proto", "shop", "Orders", nil, rpc("Get", agents))
	alone, err := proto.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	typo := file("a.proto", "shop", "Orders", nil, rpc("Get", agents))
	typo.Service[0].Method[0].InputType = new(".shop.Missing")
	contradiction := file("a.proto", "shop", "Orders", nil, rpc("Get", &rule{Anonymous: true, SingleUse: true}))
	quiet := file("a.proto", "shop", "Orders", nil)
	foreign := file("a.proto", "shop", "Orders", nil, rpc("Get", agents))
	foreign.Dependency = []string{"google/protobuf/descriptor.proto"}
	option := &descriptorpb.FieldDescriptorProto{
		Name: new("tier"), Number: new(int32(73941)), Extendee: new(".google.protobuf.MethodOptions"),
		Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(),
		TypeName: new(".shop.OrdersMessage"),
	}
	foreign.MessageType[0].Extension = []*descriptorpb.FieldDescriptorProto{option}
	garbled := file("a.proto", "shop", "Orders", nil, rpc("Get", nil))
	garbled.Service[0].Method[0].Options = new(descriptorpb.MethodOptions)
	garbled.Service[0].Method[0].Options.ProtoReflect().SetUnknown([]byte{0xaa, 0x8d, 0x24, 1, 0xff}) // field 73941 is the byte 0xff
	const how = "; make it with buf build"

	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":        {nil, "is not a descriptor set" + how},
		"a .proto file":  {[]byte("syntax = \"proto3\";\n"), "is not a descriptor set" + how},
		"JSON":           {[]byte(`{"file":[]}`), "is not a descriptor set" + how},
		"one descriptor": {alone, "is not a descriptor set" + how},
		"no imports":     {encode(t, good), "a.proto imports onbehalf/principal/v1/access.proto, which is not in the set" + how},
		"unknown type":   {encode(t, accessProto(), typo), "does not fit together"},
		"twice":          {encode(t, accessProto(), good, good), "does not fit together"},
		"no methods":     {encode(t, accessProto(), quiet), "the set has no methods; make it with buf build"},
		"contradiction":  {encode(t, accessProto(), contradiction), "principal: rule of /shop.Orders/Get: anonymous must stand alone"},
		"another option": {encode(t, foreign), "a.proto: the option shop.OrdersMessage.tier has the number of onbehalf.principal.v1.access; give it another one"},
		"garbled rule":   {encode(t, accessProto(), garbled), "has an access option that is not a rule; make it with the access.proto of this version"},
	} {
		_, err := load(t, tt.data, "")
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	set := encode(t, accessProto(),
		file("a.proto", "shop.v1", "Orders", nil, rpc("Get", agents), rpc("GetAll", agents)),
		file("b.proto", "shop.v10", "Orders", nil, rpc("Get", agents)))
	for filter, want := range map[string]int{
		"": 3, "shop": 3, "shop.v1": 2, "shop.v1.": 2, "shop.v10": 1, "shop.v1.Orders": 2,
		"shop.v1.Orders.Get": 1, "/shop.v1.Orders/Get": 1, "/shop.v1.Orders/": 2,
		"sho": 0, "Orders": 0, "shop.v1.Orders.Ge": 0,
	} {
		table, err := load(t, set, filter)
		if want == 0 {
			if err == nil || !strings.Contains(err.Error(), "has the name \""+filter+"\"") {
				t.Errorf("%q: %v", filter, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", filter, err)
		} else if got := len(rows(t, table)); got != want {
			t.Errorf("%q: %d methods, want %d", filter, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	set := encode(f, accessProto(), file("a.proto", "shop", "Orders", agents, rpc("Get", nil)))
	f.Add(set)
	f.Add(set[:len(set)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := load(t, data, "")
		if err != nil {
			return
		}
		var out bytes.Buffer
		for _, err := range []error{table.Text(&out, 80), table.Markdown(&out), table.JSON(io.Discard)} {
			if err != nil {
				t.Error(err)
			}
		}
		if bytes.ContainsRune(out.Bytes(), '\x1b') {
			t.Error("the cursor is moved")
		}
	})
}
