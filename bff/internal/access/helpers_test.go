package access_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"

	"github.com/onbehalf-dev/onbehalf/bff/internal/access"
)

type (
	fileProto   = descriptorpb.FileDescriptorProto
	methodProto = descriptorpb.MethodDescriptorProto
	rule        = principalv1.AccessRule
)

// rpc is a method with a rule, or with none.
func rpc(name string, r *rule) *methodProto {
	m := &methodProto{Name: &name}
	if r != nil {
		m.Options = new(descriptorpb.MethodOptions)
		proto.SetExtension(m.Options, principalv1.E_Access, r)
	}
	return m
}

// file is a .proto file in proto3 with one service.
func file(path, pkg, service string, fallback *rule, methods ...*methodProto) *fileProto {
	s := &descriptorpb.ServiceDescriptorProto{Name: &service, Method: methods}
	message := service + "Message"
	for _, m := range methods {
		m.InputType, m.OutputType = &message, &message
	}
	if fallback != nil {
		s.Options = new(descriptorpb.ServiceOptions)
		proto.SetExtension(s.Options, principalv1.E_DefaultAccess, fallback)
	}
	return &fileProto{
		Name: &path, Package: &pkg, Syntax: new("proto3"), Dependency: []string{accessProto().GetName()},
		MessageType: []*descriptorpb.DescriptorProto{{Name: &message}},
		Service:     []*descriptorpb.ServiceDescriptorProto{s},
	}
}

func accessProto() *fileProto {
	return protodesc.ToFileDescriptorProto(principalv1.File_onbehalf_principal_v1_access_proto)
}

// encode makes a set of the files and of what access.proto imports.
func encode(t testing.TB, files ...*fileProto) []byte {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{File: append([]*fileProto{
		protodesc.ToFileDescriptorProto(descriptorpb.File_google_protobuf_descriptor_proto),
		protodesc.ToFileDescriptorProto(durationpb.File_google_protobuf_duration_proto),
	}, files...)}
	data, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func load(t testing.TB, data []byte, filter string) (*access.Table, error) {
	t.Helper()
	files, err := access.Parse(data)
	if err != nil {
		return nil, err
	}
	return access.New(t.Context(), files, filter)
}

func mustLoad(t testing.TB, files ...*fileProto) *access.Table {
	t.Helper()
	table, err := load(t, encode(t, append(files, accessProto())...), "")
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// row is what the JSON says of a method.
type row struct {
	Who     []string       `json:"who"`
	Rule    map[string]any `json:"rule"`
	Default bool           `json:"default"`
	As      struct {
		Allowed bool   `json:"allowed"`
		Reason  string `json:"reason"`
	} `json:"as"`
}

func rows(t testing.TB, table *access.Table) map[string]row {
	t.Helper()
	var out bytes.Buffer
	if err := table.JSON(&out); err != nil {
		t.Fatal(err)
	}
	var all struct {
		Methods []struct {
			row
			Procedure string `json:"procedure"`
		} `json:"methods"`
	}
	if err := json.Unmarshal(out.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]row)
	for _, m := range all.Methods {
		found[m.Procedure] = m.row
	}
	return found
}

func text(t testing.TB, table *access.Table, width int) string {
	t.Helper()
	var out bytes.Buffer
	if err := table.Text(&out, width); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
