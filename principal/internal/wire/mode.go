package wire

// CheckMode checks the rules that tie the blocks to the mode. A relayed
// principal carries nothing that belongs to links: with more than one possible
// signer a receiver could drop a narrowing link and append its own.
func CheckMode(e *Envelope, p *Principal) error {
	if p.Relay() {
		for _, rule := range [...]struct {
			present bool
			field   string
		}{
			{len(e.Links()) > 0, "links"},
			{p.MaxLinks > 0, "max_links"},
			{p.HasCommitment, "commitment"},
			{e.Opening != "", "tail_opening"},
			{p.Presenter != "", "presenter"},
		} {
			if rule.present {
				return &Error{Field: rule.field, Problem: "does not belong in relay mode"}
			}
		}
		return nil
	}
	if !p.HasCommitment {
		return &Error{Field: "commitment", Problem: "is missing in linked mode"}
	}
	if e.Opening == "" {
		return &Error{Field: "tail_opening", Problem: "is missing in linked mode"}
	}
	return nil
}
