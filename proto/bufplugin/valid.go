package bufplugin

import (
	"context"
	"fmt"
	"strings"

	"buf.build/go/bufplugin/check"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// valid reports rules with which a service would not start.
func valid(_ context.Context, w check.ResponseWriter, request check.Request) error {
	return eachRule(request.FileDescriptors(), func(a *access) error {
		problem, err := problemOf(a.rule)
		if problem != "" {
			w.AddAnnotation(a.location(), check.WithMessagef("%s: a service would not start with its access rule: correct option %s: %s.",
				nameOf(a.owner), a.optionName(), problem))
		}
		return err
	})
}

// problemOf says why the library refuses a rule, or "". It is asked about a file
// made for this one rule, as it tells all problems of a file in one error.
func problemOf(rule *principalv1.AccessRule) (string, error) {
	options := &descriptorpb.MethodOptions{}
	proto.SetExtension(options, principalv1.E_Access, rule)
	file, err := protodesc.FileOptions{AllowUnresolvable: true}.New(&descriptorpb.FileDescriptorProto{
		Name: proto.String("rule.proto"), Syntax: proto.String("proto3"),
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("Rule"), Method: []*descriptorpb.MethodDescriptorProto{{
			Name: proto.String("Check"), InputType: proto.String(".Nothing"), OutputType: proto.String(".Nothing"), Options: options,
		}}}},
	}, nil)
	if err != nil {
		return "", fmt.Errorf("a file for one rule: %w", err)
	}
	if _, err := principal.RulesFromProto(file); err != nil {
		return strings.TrimPrefix(err.Error(), "principal: rule of /Rule/Check: "), nil
	}
	return "", nil
}
