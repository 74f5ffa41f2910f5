package principal

import "slices"

// permits checks what a rule says of the principal itself. All that is set must
// hold.
func (r *rule) permits(p *Principal) Reason {
	switch {
	case r.anonymous:
		return 0
	case !r.kinds[p.Kind()]:
		return ReasonKind
	case !hasAll(p.scopes, r.allScopes), len(r.anyScopes) > 0 && !hasAny(p.scopes, r.anyScopes):
		return ReasonScope
	case len(r.anyRoles) > 0 && !hasAny(p.roles, r.anyRoles):
		return ReasonRole
	case len(r.callers) > 0 && (p.caller == "" || !slices.Contains(r.callers, p.caller)):
		return ReasonCaller
	case r.maxDelegations >= 0 && len(p.wire.Delegations) > r.maxDelegations:
		return ReasonDelegations
	case len(r.acr) > 0 && !slices.Contains(r.acr, p.wire.Authentication.ACR):
		return ReasonACR
	}
	return 0
}

// hasAll reports whether sorted, which is ascending, has every one of want.
func hasAll(sorted, want []string) bool {
	for _, s := range want {
		if _, ok := slices.BinarySearch(sorted, s); !ok {
			return false
		}
	}
	return true
}

func hasAny(sorted, want []string) bool {
	return slices.ContainsFunc(want, func(s string) bool {
		_, ok := slices.BinarySearch(sorted, s)
		return ok
	})
}

// needs says what the verifier must have for the rule to be decidable; "" if
// nothing is missing.
func (r *rule) needs(v *Verifier) string {
	switch {
	case r.maxAge > 0 && v.revocations == nil:
		return "max_revocation_age needs a revocation feed: build the verifier WithRevocations"
	case r.online && v.online == nil:
		return "online_check needs someone to ask: build the verifier WithOnlineCheck"
	case len(r.callers) > 0 && v.trustDomain != "" && v.mtls == nil:
		return "callers cannot be told for relayed principals without mTLS: build the verifier WithMTLS or do not AcceptRelay"
	}
	return ""
}
