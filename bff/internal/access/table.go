// Package access shows who may call the methods of a descriptor set.
//
// It decides nothing itself. Rules are read by principal.RulesFromProto, as in a
// service that starts, and who may call is asked of a principal.Guard, so that a
// table cannot say anything else than what is enforced. It does not see what a
// service adds in Go: Rules.WithService, Rules.WithMethod, ObserveOnly.
package access

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// Table is who may call which method. It is not safe for concurrent use.
type Table struct {
	judge   *judge
	methods []*method
	caller  *Caller // that is asked about; nil if none
}

type method struct {
	descriptor protoreflect.MethodDescriptor
	rule       *principalv1.AccessRule // nil: every call is refused
	inherited  bool                    // the rule is the service's default
	who        []string                // kinds, or "anyone"
	reason     principal.Reason        // why the caller is refused
}

// New reads the rules of all methods in the files whose full names begin with
// prefix: a package, a service or a method; "" for all. It fails if a rule, of
// whichever method, would keep a service from starting.
func New(ctx context.Context, files []protoreflect.FileDescriptor, prefix string) (*Table, error) {
	rules, err := principal.RulesFromProto(files...)
	if err != nil {
		return nil, err
	}
	t := new(Table)
	if t.judge, err = newJudge(rules); err != nil {
		return nil, err
	}
	for _, file := range files {
		for i := range file.Services().Len() {
			list := file.Services().Get(i).Methods()
			for j := range list.Len() {
				if d := list.Get(j); prefix == "" || within(d.FullName(), prefix) {
					t.methods = append(t.methods, newMethod(d, rules))
				}
			}
		}
	}
	if len(t.methods) == 0 && prefix != "" {
		return nil, fmt.Errorf("no package, service or method of the set has the name %.200q", prefix)
	}
	if len(t.methods) == 0 {
		return nil, fmt.Errorf("the set has no methods; %s of the files that declare services", howToMake)
	}
	slices.SortFunc(t.methods, func(a, b *method) int {
		return cmp.Or(cmp.Compare(a.service(), b.service()), cmp.Compare(a.name(), b.name()))
	})
	return t, t.findWho(ctx)
}

func newMethod(d protoreflect.MethodDescriptor, rules *principal.Rules) *method {
	m := &method{descriptor: d}
	m.rule = rules.Rule(m.procedure())
	m.inherited = m.rule != nil && !proto.HasExtension(d.Options(), principalv1.E_Access)
	return m
}

func (m *method) service() string { return string(m.descriptor.Parent().FullName()) }

func (m *method) name() string { return string(m.descriptor.Name()) }

func (m *method) procedure() string { return "/" + m.service() + "/" + m.name() }

// findWho asks for callers of each kind that have no rights. A guard looks at
// the kind first, so whoever is refused for anything else is of a kind that may.
func (t *Table) findWho(ctx context.Context) error {
	for _, m := range t.methods {
		if m.rule == nil {
			continue
		}
		reason, err := t.judge.ask(ctx, m.procedure(), Caller{})
		if err != nil {
			return err
		}
		if reason == 0 {
			m.who = []string{"anyone"}
			continue
		}
		for _, kind := range []principal.Kind{principal.KindHuman, principal.KindAgent, principal.KindService} {
			reason, err := t.judge.ask(ctx, m.procedure(), Caller{Kind: kind})
			if err != nil {
				return err
			}
			if reason != principal.ReasonKind {
				m.who = append(m.who, kind.String())
			}
		}
	}
	return nil
}

// Ask adds to each method whether this caller may call it, if revocations are
// fresh, an online check passes, and the header was not used before.
func (t *Table) Ask(ctx context.Context, c Caller) error {
	for _, m := range t.methods {
		reason, err := t.judge.ask(ctx, m.procedure(), c)
		if err != nil {
			return err
		}
		m.reason = reason
	}
	t.caller = &c
	return nil
}

// Check returns an error that names every method without a rule: the one with
// which a service does not start.
func (t *Table) Check() error {
	procedures := make([]string, 0, len(t.methods))
	for _, m := range t.methods {
		procedures = append(procedures, m.procedure())
	}
	return t.judge.guard.CheckMethods(procedures)
}
