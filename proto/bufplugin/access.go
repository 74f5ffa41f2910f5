package bufplugin

import (
	"fmt"
	"iter"
	"slices"

	"buf.build/go/bufplugin/check"
	"buf.build/go/bufplugin/descriptor"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

// access is an access rule and the method or service that has it as an option.
type access struct {
	owner protoreflect.Descriptor
	rule  *principalv1.AccessRule
}

// accessOf returns the rule that a method or service has of its own, or nil. The
// files under check bring their own copy of access.proto, so the option may be of
// a type made at run time, or not have been read: its bytes are read again here,
// which also keeps fields that this version does not know.
func accessOf(owner protoreflect.Descriptor) (*access, error) {
	var options proto.Message = &descriptorpb.MethodOptions{}
	extension := principalv1.E_Access
	if _, ok := owner.(protoreflect.ServiceDescriptor); ok {
		options, extension = &descriptorpb.ServiceOptions{}, principalv1.E_DefaultAccess
	}
	encoded, err := proto.MarshalOptions{AllowPartial: true}.Marshal(owner.Options())
	if err != nil {
		return nil, fmt.Errorf("options of %s: %w", nameOf(owner), err)
	}
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(encoded, options); err != nil {
		return nil, fmt.Errorf("options of %s: %w", nameOf(owner), err)
	}
	if !proto.HasExtension(options, extension) {
		return nil, nil
	}
	rule, ok := proto.GetExtension(options, extension).(*principalv1.AccessRule)
	if !ok {
		return nil, fmt.Errorf("options of %s: the access rule is of another type", nameOf(owner))
	}
	return &access{owner: owner, rule: rule}, nil
}

// effective returns the rule that holds for a method, its own or its service's
// default, or nil if there is none.
func effective(method protoreflect.MethodDescriptor) (*access, error) {
	if own, err := accessOf(method); own != nil || err != nil {
		return own, err
	}
	return accessOf(method.Parent())
}

// location is the line of the option, so that buf shows the rule and not only its
// method.
func (a *access) location() check.AddAnnotationOption {
	optionsField, extension := protoreflect.FieldNumber(4), principalv1.E_Access // MethodDescriptorProto.options
	if _, ok := a.owner.(protoreflect.ServiceDescriptor); ok {
		optionsField, extension = 3, principalv1.E_DefaultAccess // ServiceDescriptorProto.options
	}
	file := a.owner.ParentFile()
	locations := file.SourceLocations()
	option := append(slices.Clone(locations.ByDescriptor(a.owner).Path), int32(optionsField), int32(extension.TypeDescriptor().Number()))
	if len(locations.ByPath(option).Path) > 0 {
		return check.WithFileNameAndSourcePath(file.Path(), option)
	}
	for i := range locations.Len() { // an option that is set field by field has only the locations of its fields
		if found := locations.Get(i).Path; len(found) > len(option) && slices.Equal(found[:len(option)], option) {
			return check.WithFileNameAndSourcePath(file.Path(), found)
		}
	}
	return check.WithDescriptor(a.owner)
}

// optionName is how the option is written in a .proto.
func (a *access) optionName() string {
	if _, ok := a.owner.(protoreflect.ServiceDescriptor); ok {
		return "(onbehalf.principal.v1.default_access)"
	}
	return "(onbehalf.principal.v1.access)"
}

// nameOf returns package.Service/Method for a method, package.Service for a
// service.
func nameOf(owner protoreflect.Descriptor) string {
	if _, ok := owner.(protoreflect.MethodDescriptor); ok {
		return string(owner.Parent().FullName()) + "/" + string(owner.Name())
	}
	return string(owner.FullName())
}

// services ranges over the services of files that are not only imported, whose
// rules others have to change.
func services(files []descriptor.FileDescriptor) iter.Seq[protoreflect.ServiceDescriptor] {
	return func(yield func(protoreflect.ServiceDescriptor) bool) {
		for _, file := range files {
			found := file.ProtoreflectFileDescriptor().Services()
			for i := 0; i < found.Len() && !file.IsImport(); i++ {
				if !yield(found.Get(i)) {
					return
				}
			}
		}
	}
}

// methods ranges over the methods of those services.
func methods(files []descriptor.FileDescriptor) iter.Seq[protoreflect.MethodDescriptor] {
	return func(yield func(protoreflect.MethodDescriptor) bool) {
		for service := range services(files) {
			for i := range service.Methods().Len() {
				if !yield(service.Methods().Get(i)) {
					return
				}
			}
		}
	}
}

// eachRule calls f for every rule that stands in the files, defaults included.
func eachRule(files []descriptor.FileDescriptor, f func(*access) error) error {
	visit := func(owner protoreflect.Descriptor) error {
		own, err := accessOf(owner)
		if own == nil || err != nil {
			return err
		}
		return f(own)
	}
	for service := range services(files) {
		if err := visit(service); err != nil {
			return err
		}
	}
	for method := range methods(files) {
		if err := visit(method); err != nil {
			return err
		}
	}
	return nil
}
