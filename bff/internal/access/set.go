package access

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

const howToMake = "make it with buf build -o FILE.binpb, or protoc --include_imports --descriptor_set_out=FILE"

// Parse reads a FileDescriptorSet and returns its files by path. The options are
// read as the types that are linked into this program, as in a service: a set
// may hold a copy of access.proto under another path.
func Parse(data []byte) ([]protoreflect.FileDescriptor, error) {
	set := new(descriptorpb.FileDescriptorSet)
	unread := proto.UnmarshalOptions{Resolver: new(protoregistry.Types)}.Unmarshal(data, set)
	if unread != nil || len(set.GetFile()) == 0 || set.GetFile()[0].GetName() == "" {
		return nil, errors.New("is not a descriptor set; " + howToMake)
	}
	if err := proto.Unmarshal(data, set); err != nil {
		return nil, errors.New("has an access option that is not a rule; make it with the access.proto of this version")
	}
	if err := missingImport(set); err != nil {
		return nil, err
	}
	registry, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("does not fit together (%w); %s", err, howToMake)
	}
	var files []protoreflect.FileDescriptor
	registry.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		files = append(files, file)
		return true
	})
	slices.SortFunc(files, func(a, b protoreflect.FileDescriptor) int { return cmp.Compare(a.Path(), b.Path()) })
	return files, foreignOption(registry)
}

func missingImport(set *descriptorpb.FileDescriptorSet) error {
	there := make(map[string]bool)
	for _, file := range set.GetFile() {
		there[file.GetName()] = true
	}
	for _, file := range set.GetFile() {
		for _, path := range file.GetDependency() {
			if !there[path] {
				return fmt.Errorf("%s imports %s, which is not in the set; %s", file.GetName(), path, howToMake)
			}
		}
	}
	return nil
}

// foreignOption refuses an option of somebody else that has the number of ours:
// its bytes would be shown as rules that nobody has written.
func foreignOption(registry *protoregistry.Files) error {
	for _, ours := range []protoreflect.ExtensionType{principalv1.E_Access, principalv1.E_DefaultAccess} {
		our := ours.TypeDescriptor()
		var err error
		check := func(list protoreflect.ExtensionDescriptors) {
			for i := range list.Len() {
				x := list.Get(i)
				same := x.Number() == our.Number() && x.ContainingMessage().FullName() == our.ContainingMessage().FullName()
				if same && x.FullName() != our.FullName() {
					err = fmt.Errorf("%s: the option %s has the number of %s; give it another one", x.ParentFile().Path(), x.FullName(), our.FullName())
				}
			}
		}
		registry.RangeFiles(func(file protoreflect.FileDescriptor) bool {
			check(file.Extensions())
			eachMessage(file.Messages(), func(m protoreflect.MessageDescriptor) { check(m.Extensions()) })
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func eachMessage(list protoreflect.MessageDescriptors, do func(protoreflect.MessageDescriptor)) {
	for i := range list.Len() {
		do(list.Get(i))
		eachMessage(list.Get(i).Messages(), do)
	}
}

// within reports whether a method is the one that prefix names, or in the
// service or package that it names.
func within(method protoreflect.FullName, prefix string) bool {
	rest, ok := strings.CutPrefix(string(method), strings.ReplaceAll(strings.Trim(prefix, "/."), "/", "."))
	return ok && (rest == "" || rest[0] == '.')
}
