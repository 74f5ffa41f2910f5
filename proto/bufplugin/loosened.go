package bufplugin

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"buf.build/go/bufplugin/check"
	"google.golang.org/protobuf/reflect/protoreflect"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

// notLoosened reports methods whose rule allows more than the one before, wherever
// either stands. Methods are told by name, so moving one to another file hides
// nothing. A method that had no rule was refused; its first rule is not compared.
func notLoosened(_ context.Context, w check.ResponseWriter, request check.Request) error {
	earlier := make(map[string]protoreflect.MethodDescriptor)
	for _, file := range request.AgainstFileDescriptors() { // what was only imported then may be checked now
		services := file.ProtoreflectFileDescriptor().Services()
		for i := range services.Len() {
			for j := range services.Get(i).Methods().Len() {
				method := services.Get(i).Methods().Get(j)
				earlier[nameOf(method)] = method
			}
		}
	}
	for method := range methods(request.FileDescriptors()) {
		against, ok := earlier[nameOf(method)]
		if !ok {
			continue
		}
		before, err := effective(against)
		if err != nil {
			return err
		}
		now, err := effective(method)
		if err != nil {
			return err
		}
		if before == nil || now == nil {
			continue
		}
		stream := method.IsStreamingClient() || method.IsStreamingServer()
		if found := loosened(before.rule, now.rule, stream); len(found) > 0 {
			w.AddAnnotation(now.location(), check.WithAgainstDescriptor(against), check.WithMessagef("%s allows more than before by option %s: it %s; "+
				"take that back, or if it is meant, list the file under breaking.ignore_only in buf.yaml until it is released.",
				nameOf(method), now.optionName(), strings.Join(found, ", ")))
		}
	}
	return nil
}

// loosened says in which ways now admits what before did not. All that a rule sets
// must hold, so each demand is compared on its own.
func loosened(before, now *principalv1.AccessRule, stream bool) []string {
	switch {
	case !bytes.Equal(before.ProtoReflect().GetUnknown(), now.ProtoReflect().GetUnknown()):
		return []string{"differs in fields that this version of the plugin does not know, so upgrade it first"}
	case before.GetAnonymous(): // nothing is more open
		return nil
	case now.GetAnonymous():
		return []string{"lets in callers without a principal (anonymous)"}
	}
	return slices.Concat(
		kindsLoosened(before, now), scopesLoosened(before, now),
		anyOfLoosened("any_roles", before.GetAnyRoles(), now.GetAnyRoles()),
		anyOfLoosened("callers", before.GetCallers(), now.GetCallers()),
		anyOfLoosened("acr", before.GetAcr(), now.GetAcr()),
		limitsLoosened(before, now, stream),
	)
}

func kindsLoosened(before, now *principalv1.AccessRule) []string {
	var found []string
	had := kindsOf(before)
	for _, kind := range kindsOf(now) {
		if !slices.Contains(had, kind) {
			found = append(found, "lets in "+kind.String())
		}
	}
	return found
}

// kindsOf returns the kinds that a rule admits, each once and in order.
func kindsOf(rule *principalv1.AccessRule) []principalv1.Kind {
	kinds := slices.Clone(rule.GetKinds())
	if len(kinds) == 0 {
		return []principalv1.Kind{principalv1.Kind_KIND_HUMAN, principalv1.Kind_KIND_SERVICE}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// scopesLoosened compares all_scopes and any_scopes together, as sets of which one
// each must be held: one of all_scopes is a set of its own. A demand of before
// still holds if what now demands lies within it.
func scopesLoosened(before, now *principalv1.AccessRule) []string {
	holds := func(demand []string) bool {
		return slices.ContainsFunc(now.GetAllScopes(), func(s string) bool { return slices.Contains(demand, s) }) ||
			len(now.GetAnyScopes()) > 0 && within(now.GetAnyScopes(), demand)
	}
	var found []string
	for _, scope := range before.GetAllScopes() {
		if !holds([]string{scope}) {
			found = append(found, fmt.Sprintf("no longer demands scope %q", scope))
		}
	}
	if demand := before.GetAnyScopes(); len(demand) > 0 && !holds(demand) {
		found = append(found, fmt.Sprintf("no longer demands one of any_scopes %q", demand))
	}
	return found
}

// anyOfLoosened compares a field of which one element must be held.
func anyOfLoosened(field string, before, now []string) []string {
	switch {
	case len(before) == 0 || len(now) > 0 && within(now, before):
		return nil
	case len(now) == 0:
		return []string{fmt.Sprintf("no longer demands one of %s %q", field, before)}
	}
	added := make(map[string]bool)
	for _, s := range now {
		if !slices.Contains(before, s) {
			added[s] = true
		}
	}
	return []string{fmt.Sprintf("takes more for %s: %q", field, slices.Sorted(maps.Keys(added)))}
}

// within reports whether every element of part is in whole.
func within(part, whole []string) bool {
	return !slices.ContainsFunc(part, func(s string) bool { return !slices.Contains(whole, s) })
}

func limitsLoosened(before, now *principalv1.AccessRule, stream bool) []string {
	var found []string
	if before.MaxDelegations != nil && (now.MaxDelegations == nil || now.GetMaxDelegations() > before.GetMaxDelegations()) {
		found = append(found, fmt.Sprintf("admits more than %d delegations (max_delegations)", before.GetMaxDelegations()))
	}
	if had, has := before.GetMaxRevocationAge(), now.GetMaxRevocationAge(); had != nil && (has == nil || has.AsDuration() > had.AsDuration()) {
		found = append(found, fmt.Sprintf("admits a revocation feed older than %s (max_revocation_age)", had.AsDuration()))
	}
	if before.GetOnlineCheck() && !now.GetOnlineCheck() {
		found = append(found, "no longer asks the issuer (online_check)")
	}
	const session = principalv1.StreamLife_STREAM_LIFE_SESSION
	if stream && now.GetStream() == session && before.GetStream() != session {
		found = append(found, "lets its streams outlive the principal (STREAM_LIFE_SESSION)")
	}
	if before.GetSingleUse() && !now.GetSingleUse() {
		found = append(found, "admits a header more than once (single_use)")
	}
	return found
}
