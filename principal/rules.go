package principal

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// Rules says who may call which method. A method that is not listed is refused.
// Rules are immutable; the methods return changed copies. The zero value lists
// nothing.
type Rules struct {
	methods  map[string]*rule // "/service/method", or a ServeMux pattern
	services map[string]*rule // given from Go, for methods without their own
	problems []error
}

// rule is an access rule prepared for evaluation.
type rule struct {
	source         *principalv1.AccessRule
	text           string // for records
	anonymous      bool
	kinds          [4]bool // by Kind
	allScopes      []string
	anyScopes      []string
	anyRoles       []string
	callers        []string
	maxDelegations int // -1: any number
	acr            []string
	maxAge         time.Duration // 0: no demand
	online         bool
	session        bool
	singleUse      bool
}

// RulesFromProto reads the rules that the methods and services of some .proto
// files carry as options (onbehalf.principal.v1.access and default_access).
func RulesFromProto(files ...protoreflect.FileDescriptor) (*Rules, error) {
	r := &Rules{}
	for _, file := range files {
		for i := range file.Services().Len() {
			r.addService(file.Services().Get(i))
		}
	}
	return r, r.err()
}

// RulesFromRegistry reads the rules of all .proto files that are linked into
// the program.
func RulesFromRegistry() (*Rules, error) {
	var files []protoreflect.FileDescriptor
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		files = append(files, file)
		return true
	})
	return RulesFromProto(files...)
}

// registryRules is what a propagator knows of the methods it calls: which are
// single use. It is read once, at the first call.
var registryRules = sync.OnceValue(func() *Rules {
	r, _ := RulesFromRegistry() // a wrong rule is for the server that owns it to refuse
	return r
})

func (r *Rules) addService(service protoreflect.ServiceDescriptor) {
	fallback, err := ruleOption(service.Options(), principalv1.E_DefaultAccess)
	if err != nil {
		r.problems = append(r.problems, fmt.Errorf("principal: rule of %s: %w", service.FullName(), err))
		return
	}
	for i := range service.Methods().Len() {
		method := service.Methods().Get(i)
		source, err := ruleOption(method.Options(), principalv1.E_Access)
		if err != nil {
			r.problems = append(r.problems, fmt.Errorf("principal: rule of %s: %w", method.FullName(), err))
			continue
		}
		if source == nil {
			source = fallback
		}
		if source != nil {
			r.set(&r.methods, "/"+string(service.FullName())+"/"+string(method.Name()), source)
		}
	}
}

// ruleOption returns nil if there is no such option. One that is there but was
// not understood is an error: a method would fall back to a rule that is not its
// own.
func ruleOption(options protoreflect.ProtoMessage, extension protoreflect.ExtensionType) (*principalv1.AccessRule, error) {
	for unknown := options.ProtoReflect().GetUnknown(); len(unknown) > 0; {
		number, _, n := protowire.ConsumeField(unknown)
		if n < 0 || number == extension.TypeDescriptor().Number() {
			return nil, errors.New("the option was not read: use protoregistry.GlobalTypes for descriptors made at run time")
		}
		unknown = unknown[n:]
	}
	if !proto.HasExtension(options, extension) {
		return nil, nil
	}
	rule, _ := proto.GetExtension(options, extension).(*principalv1.AccessRule)
	return rule, nil
}

// WithMethod sets the rule of one method: "/service/method" for RPCs, a
// [net/http.ServeMux] pattern for plain HTTP. It replaces the one it has.
func (r *Rules) WithMethod(method string, source *principalv1.AccessRule) *Rules {
	next := r.clone()
	next.set(&next.methods, method, source)
	return next
}

// WithService sets the rule for all methods of an RPC service that have none of
// their own, such as those of services whose .proto you do not own.
func (r *Rules) WithService(service string, source *principalv1.AccessRule) *Rules {
	next := r.clone()
	next.set(&next.services, service, source)
	return next
}

// AllowAnonymous returns the rule of a method that needs no principal. A valid
// principal is still shown to the handler, and an invalid one still refused.
func AllowAnonymous() *principalv1.AccessRule { return &principalv1.AccessRule{Anonymous: true} }

// Methods returns the methods that have a rule of their own, in order.
func (r *Rules) Methods() []string { return slices.Sorted(maps.Keys(r.methods)) }

// Rule returns the rule that holds for a method, or nil if there is none.
func (r *Rules) Rule(method string) *principalv1.AccessRule {
	if found := r.find(method); found != nil {
		return proto.CloneOf(found.source)
	}
	return nil
}

func (r *Rules) clone() *Rules {
	return &Rules{methods: maps.Clone(r.methods), services: maps.Clone(r.services), problems: slices.Clone(r.problems)}
}

func (r *Rules) set(where *map[string]*rule, name string, source *principalv1.AccessRule) {
	prepared, err := prepareRule(source)
	if err != nil {
		r.problems = append(r.problems, fmt.Errorf("principal: rule of %s: %w", name, err))
		return
	}
	if *where == nil {
		*where = make(map[string]*rule)
	}
	(*where)[name] = prepared
}

func (r *Rules) err() error { return errors.Join(r.problems...) }

func (r *Rules) find(method string) *rule {
	if found, ok := r.methods[method]; ok {
		return found
	}
	if !isMethod(method) { // another spelling of a method must not escape its own rule
		return nil
	}
	return r.services[serviceOf(method)]
}

// isMethod reports whether procedure is "/service/method" with a protobuf
// identifier as the method.
func isMethod(procedure string) bool {
	_, method, ok := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	return ok && protoreflect.Name(method).IsValid()
}

func (r *Rules) singleUse(method string) bool {
	found := r.find(method)
	return found != nil && found.singleUse
}

// serviceOf returns the service of "/service/method"; "" for anything else.
func serviceOf(procedure string) string {
	service, _, ok := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	if !ok || !strings.HasPrefix(procedure, "/") {
		return ""
	}
	return service
}

// prepareRule checks a rule. A rule that cannot mean what its author meant is
// an error rather than a guess.
func prepareRule(source *principalv1.AccessRule) (*rule, error) {
	if source == nil {
		return nil, errors.New("is nil")
	}
	if len(source.ProtoReflect().GetUnknown()) > 0 {
		return nil, errors.New("has fields that this version does not know: upgrade the library")
	}
	source = proto.CloneOf(source)
	r := &rule{
		source: source, text: "{" + prototext.MarshalOptions{}.Format(source) + "}", anonymous: source.GetAnonymous(),
		allScopes: source.GetAllScopes(), anyScopes: source.GetAnyScopes(), anyRoles: source.GetAnyRoles(),
		callers: source.GetCallers(), acr: source.GetAcr(),
		maxDelegations: -1, online: source.GetOnlineCheck(), singleUse: source.GetSingleUse(),
	}
	if r.anonymous && !proto.Equal(source, AllowAnonymous()) {
		return nil, errors.New("anonymous must stand alone: nothing else can hold for a call without a principal")
	}
	if err := r.prepareKinds(source.GetKinds()); err != nil {
		return nil, err
	}
	if source.MaxDelegations != nil {
		r.maxDelegations = int(min(source.GetMaxDelegations(), wire.MaxDelegations))
	}
	if age := source.GetMaxRevocationAge(); age != nil {
		if err := age.CheckValid(); err != nil || age.AsDuration() <= 0 {
			return nil, errors.New("max_revocation_age must be longer than 0 s")
		}
		r.maxAge = age.AsDuration()
	}
	switch source.GetStream() {
	case principalv1.StreamLife_STREAM_LIFE_UNSPECIFIED, principalv1.StreamLife_STREAM_LIFE_PRINCIPAL:
	case principalv1.StreamLife_STREAM_LIFE_SESSION:
		r.session = true
	default:
		return nil, errors.New("stream has a value that this version does not know: upgrade the library")
	}
	for _, c := range r.callers {
		if !wire.IsServiceName(c) {
			return nil, fmt.Errorf("callers: %q is not a service name", c)
		}
	}
	for field, list := range map[string][]string{"all_scopes": r.allScopes, "any_scopes": r.anyScopes, "any_roles": r.anyRoles, "acr": r.acr} {
		if slices.Contains(list, "") {
			return nil, fmt.Errorf("%s has an empty element", field)
		}
	}
	return r, nil
}

func (r *rule) prepareKinds(kinds []principalv1.Kind) error {
	if len(kinds) == 0 {
		r.kinds[KindHuman], r.kinds[KindService] = true, true
		return nil
	}
	for _, k := range kinds {
		if k < principalv1.Kind_KIND_HUMAN || k > principalv1.Kind_KIND_SERVICE {
			return errors.New("kinds has a value that this version does not know or that is unspecified")
		}
		r.kinds[k] = true
	}
	return nil
}
