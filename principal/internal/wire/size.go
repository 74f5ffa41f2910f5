package wire

// LargestField names the field that takes the most bytes in p's encoding, for
// an error that says what to make smaller.
func LargestField(p *Principal) string {
	largest, most := "", 0
	consider := func(field string, size int) {
		if size > most {
			largest, most = field, size
		}
	}
	consider("scopes", textBytes(p.Scopes))
	consider("roles", textBytes(p.Roles))
	consider("tenant", len(p.Tenant))
	consider("client_id", len(p.ClientID))
	attributes, delegations := 0, 0
	for _, a := range p.Attributes {
		attributes += len(a.Name) + len(a.Value) + 6
	}
	for i := range p.Delegations {
		delegations += len(appendDelegation(nil, &p.Delegations[i]))
	}
	consider("attributes", attributes)
	consider("delegations", delegations)
	consider("subject", len(appendIdentity(nil, 8, &p.Subject)))
	consider("authentication", len(appendAuthentication(nil, &p.Authentication)))
	return largest
}

func textBytes(list []string) int {
	n := 0
	for _, s := range list {
		n += len(s) + 2
	}
	return n
}
