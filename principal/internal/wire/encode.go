package wire

// AppendPrincipal appends the canonical encoding of p. It does not check p:
// what ParsePrincipal accepts of the result is what may be signed.
func AppendPrincipal(dst []byte, p *Principal) []byte {
	dst = appendID(dst, 1, p.ID)
	dst = appendText(dst, 2, p.Issuer)
	dst = appendText(dst, 3, p.Audience)
	dst = appendText(dst, 4, p.Presenter)
	dst = appendTime(dst, 5, p.IssuedAt)
	dst = appendTime(dst, 6, p.ExpiresAt)
	dst = appendTime(dst, 7, p.StreamUntil)
	dst = appendIdentity(dst, 8, &p.Subject)
	for i := range p.Delegations {
		dst = appendDelegation(dst, &p.Delegations[i])
	}
	dst = appendTexts(dst, 10, p.Scopes)
	dst = appendTexts(dst, 11, p.Roles)
	dst = appendText(dst, 12, p.Tenant)
	dst = appendText(dst, 13, p.ClientID)
	if p.HasSessionID {
		dst = appendID(dst, 14, p.SessionID)
	}
	if p.HasTransactionID {
		dst = appendID(dst, 15, p.TransactionID)
	}
	if p.HasAuthentication {
		dst = appendAuthentication(dst, &p.Authentication)
	}
	for _, a := range p.Attributes {
		var at int
		dst, at = beginMessage(dst, 17)
		dst = appendText(dst, 1, a.Name)
		dst = appendText(dst, 2, a.Value)
		dst = endMessage(dst, at)
	}
	dst = appendVarint(dst, 18, uint64(p.MaxLinks))
	dst = appendVarint(dst, 19, p.RevocationSequence)
	if p.HasCommitment {
		dst = appendID(dst, 20, p.Commitment)
	}
	return dst
}

// AppendLinkPayload appends the canonical encoding of l, unchecked.
func AppendLinkPayload(dst []byte, l *Link) []byte {
	dst = appendText(dst, 1, l.Audience)
	if l.HasScopes {
		var at int
		dst, at = beginMessage(dst, 2)
		dst = appendTexts(dst, 1, l.Scopes)
		dst = endMessage(dst, at)
	}
	dst = appendTime(dst, 3, l.ExpiresAt)
	return appendID(dst, 4, l.Commitment)
}

func appendTime(dst []byte, num uint32, t int64) []byte {
	return appendVarint(dst, num, uint64(t))
}

func appendIdentity(dst []byte, num uint32, id *Identity) []byte {
	dst, at := beginMessage(dst, num)
	dst = appendText(dst, 1, id.Issuer)
	switch id.Spelling {
	case HumanUUID, AgentUUID:
		dst = appendID(dst, uint32(id.Spelling), id.UUID)
	case HumanName, AgentName, ServiceName:
		dst = appendBytes(dst, uint32(id.Spelling), id.Name)
	}
	return endMessage(dst, at)
}

func appendDelegation(dst []byte, d *Delegation) []byte {
	dst, at := beginMessage(dst, 9)
	dst = appendID(dst, 1, d.GrantID)
	dst = appendIdentity(dst, 2, &d.Actor)
	return endMessage(dst, at)
}

func appendAuthentication(dst []byte, a *Authentication) []byte {
	dst, at := beginMessage(dst, 16)
	dst = appendTime(dst, 1, a.Time)
	dst = appendText(dst, 2, a.ACR)
	dst = appendTexts(dst, 3, a.AMR)
	dst = appendText(dst, 4, a.Source)
	return endMessage(dst, at)
}
