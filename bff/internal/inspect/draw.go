package inspect

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	width = 80 // where lists are broken; a single long word is not
	label = 14 // of what stands before a value
)

// Draw writes r for people: first what was found out, then the chain from the
// one whose authority it is down to the one that may use it, then the rest. What
// others chose is quoted where it could move the cursor or look like something
// else.
func (r *Report) Draw(w io.Writer) error {
	p := &page{at: r.At, claimed: "not verified"}
	if r.Signatures == SignaturesValid {
		p.claimed = "signed"
	}
	r.drawVerdict(p)
	r.drawParties(p)
	r.drawChain(p)
	r.drawFacts(p)
	r.drawSize(p)
	_, err := io.WriteString(w, p.String())
	return err
}

func (r *Report) drawVerdict(p *page) {
	switch r.Signatures {
	case SignaturesUnchecked:
		p.wrap("NOT VERIFIED: ", "without --keys nothing is checked: anybody may have written what follows.")
	case SignaturesInvalid:
		p.wrap("NOT VERIFIED: ", "not every signature verifies with these keys, so anybody may have written what follows.")
	default:
		p.wrap("SIGNED: ", "every signature verifies with these keys.")
	}
	if d := r.Decision; d != nil {
		at := "at " + clock(r.At)
		if d.Accepted {
			p.wrap("ACCEPTED: ", d.Service+" would accept it "+at+".")
		} else {
			p.wrap("REFUSED: ", fmt.Sprintf("%s would refuse it %s: %s (%s).", d.Service, at, d.Reason, d.Code))
			p.wrap("  ", d.Explanation+".")
			if d.Detail != "" {
				p.wrap("  detail: ", d.Detail)
			}
		}
		p.wrap("  ", "Not asked: mTLS presenter, revocations, single use and the method's rule.")
	}
	for _, note := range r.Notes {
		p.wrap("NOTE: ", note+".")
	}
}

func (r *Report) drawParties(p *page) {
	p.title("For whom, and who acts")
	subject := r.Principal.Subject.Kind + ", subject"
	if len(r.Principal.Delegations) == 0 {
		subject += "; acts itself"
	}
	p.node(r.party(r.Principal.Subject), subject)
	for n, d := range r.Principal.Delegations {
		p.edge("delegates, grant " + d.GrantID)
		p.arrow()
		what := d.Actor.Kind
		if n == len(r.Principal.Delegations)-1 {
			what += ", actor: acts now"
		}
		p.node(r.party(d.Actor), what)
	}
}

// party names the issuer of an identity only where it is another one.
func (r *Report) party(party Party) string {
	name := plain(party.ID)
	if party.Issuer != r.Principal.Issuer {
		name += " of " + plain(party.Issuer)
	}
	return name
}

func (r *Report) drawChain(p *page) {
	p.title("Through whom")
	for n := range r.Chain {
		b := &r.Chain[n]
		if n == 0 {
			p.node(plain(b.Signer), "issuer, key "+plain(b.KeyID)+", "+signature(b.Signature))
			r.drawAuthority(p, b)
		} else {
			p.node(plain(b.Signer), "link "+strconv.Itoa(n)+", key "+plain(b.KeyID)+", "+signature(b.Signature))
			r.drawLink(p, b)
		}
		p.arrow()
	}
	if r.Principal.Mode == modeRelay {
		p.node(plain(r.Principal.Audience), "trust domain: its services pass this on unchanged")
		return
	}
	p.node(plain(r.Principal.Audience), "audience: may use it")
}

func (r *Report) drawAuthority(p *page, b *Block) {
	to := "to " + plain(b.Audience)
	if r.Principal.Presenter != "" {
		to += ", presented by " + plain(r.Principal.Presenter)
	}
	p.edge(to)
	grants := count(len(r.Principal.StatedScopes), "scope") + ", " + count(len(r.Principal.StatedRoles), "role")
	switch life := r.inspected.Stated.GetExpiresAt() - r.inspected.Stated.GetIssuedAt(); {
	case life <= 0:
		grants += ", NO LIFE (refused: time)"
	case life > maxLife:
		grants += ", LIVES LONGER THAN 5m (refused: time)"
	default:
		grants += ", life " + span(time.Duration(life)*time.Second)
	}
	if r.Principal.Mode == modeLinked {
		grants += ", at most " + count(b.LinksLeft, "link")
	}
	p.edge(grants)
}

func (r *Report) drawLink(p *page, b *Block) {
	p.edge(fmt.Sprintf("to %s, deadline %s (%s)", plain(b.Audience), clock(b.ExpiresAt), p.relative(b.ExpiresAt)))
	if len(b.Removed.Scopes) > 0 {
		p.edge("removes scopes: " + words(b.Removed.Scopes))
	}
	if len(b.Removed.Roles) > 0 {
		p.edge("removes roles: " + words(b.Removed.Roles))
	}
	if len(b.Removed.Scopes)+len(b.Removed.Roles) == 0 {
		p.edge("removes no scopes and no roles")
	}
	if len(b.Removed.Widens) > 0 {
		p.edge("CLAIMS SCOPES ITS PARENT HAD NOT (refused: widen): " + words(b.Removed.Widens))
	}
	var life string
	switch {
	case b.Removed.LifeSeconds == 0:
		life = "ends with the principal"
	case b.Removed.LifeSeconds < 0:
		life = "ENDS AFTER THE PRINCIPAL (refused: time)"
	default:
		life = "ends " + span(r.Principal.ExpiresAt.Sub(b.ExpiresAt)) + " before the principal"
	}
	left := count(b.LinksLeft, "link") + " left"
	if b.LinksLeft < 0 {
		left = "ONE LINK TOO MANY (refused: widen)"
	}
	p.edge(life + "; " + left)
}

func signature(state string) string {
	switch state {
	case SignaturesUnchecked:
		return "not verified"
	case SignaturesValid:
		return "verified"
	default:
		return "NOT VERIFIED: " + state
	}
}

func (r *Report) drawFacts(p *page) {
	f := &r.Principal
	p.title("What it says")
	p.fact("id", f.ID)
	p.fact("kind", f.Kind+", "+f.Mode)
	p.fact("issuer", plain(f.Issuer))
	p.fact("audience", plain(f.Audience))
	p.fact("tenant", plain(f.Tenant))
	p.fact("client", plain(f.ClientID))
	p.fact("session", f.SessionID)
	p.fact("transaction", f.TransactionID)
	p.fact("authenticated", r.authentication(p))
	p.moment("issued", &f.IssuedAt)
	p.moment("expires", &f.ExpiresAt)
	p.moment("present by", f.PresentBy)
	p.moment("stream until", f.StreamUntil)
	if f.RevocationSequence > 0 {
		p.fact("revocations", fmt.Sprintf("the issuer had read up to %d", f.RevocationSequence))
	}
	p.fact("scopes", orNone(words(f.Scopes)))
	p.fact("roles", orNone(words(f.Roles)))
	for _, name := range slices.Sorted(maps.Keys(f.Attributes)) {
		p.fact("attribute", plain(name)+" = "+plain(f.Attributes[name]))
	}
	path := make([]string, 0, len(f.Path))
	for _, service := range f.Path {
		path = append(path, plain(service))
	}
	if f.Mode == modeRelay {
		path = []string{"not recorded in relay mode"}
	}
	p.fact("path", orNone(strings.Join(path, " → ")))
}

func (r *Report) authentication(p *page) string {
	a := r.Principal.Authentication
	if a == nil {
		return ""
	}
	var all []string
	if a.Time != nil {
		all = append(all, clock(*a.Time)+" ("+p.relative(*a.Time)+")")
	}
	if a.Source != "" {
		all = append(all, "by "+plain(a.Source))
	}
	if a.ACR != "" {
		all = append(all, "acr "+plain(a.ACR))
	}
	if len(a.AMR) > 0 {
		all = append(all, "amr "+words(a.AMR))
	}
	return strings.Join(all, ", ")
}

func (r *Report) drawSize(p *page) {
	s := &r.Size
	p.line("")
	p.line(fmt.Sprintf("Size: %d of %d bytes, %d characters as base64", s.Bytes, s.MaxBytes, s.Characters))
	for n, b := range s.Blocks {
		name := "authority"
		if n > 0 {
			name = "link " + strconv.Itoa(n)
		}
		p.fact(name, fmt.Sprintf("%4d  payload %d, key id %d, signature %d, framing %d", b.Bytes,
			b.PayloadBytes, b.KeyIDBytes, b.SignatureBytes, b.Bytes-b.PayloadBytes-b.KeyIDBytes-b.SignatureBytes))
	}
	if s.OpeningBytes > 0 {
		p.fact("opening", fmt.Sprintf("%4d", s.OpeningBytes))
	}
	largest := make([]string, 0, 5)
	for _, f := range s.Fields[:min(5, len(s.Fields))] {
		largest = append(largest, fmt.Sprintf("%s %d", f.Field, f.Bytes))
	}
	p.fact("largest", strings.Join(largest, ", "))
}

// page is text for a terminal, as it grows.
type page struct {
	strings.Builder

	at      time.Time
	claimed string // stands in each title
}

func (p *page) line(s string) {
	p.WriteString(strings.TrimRight(s, " "))
	p.WriteByte('\n')
}

func (p *page) title(s string) {
	p.line("")
	p.line(s + " (" + p.claimed + ")")
}

// wrap writes text behind head, and its further lines below its first word.
func (p *page) wrap(head, text string) {
	p.wrapBelow(head, strings.Repeat(" ", utf8.RuneCountInString(head)), text)
}

func (p *page) wrapBelow(head, below, text string) {
	row, empty := head, true
	for word := range strings.SplitSeq(text, " ") {
		if !empty && utf8.RuneCountInString(row)+1+utf8.RuneCountInString(word) > width {
			p.line(row)
			row, empty = below, true
		}
		if !empty {
			row += " "
		}
		row += word
		empty = false
	}
	p.line(row)
}

func (p *page) fact(name, value string) {
	if value != "" {
		p.wrap(fmt.Sprintf("  %-*s", label, name), value)
	}
}

func (p *page) moment(name string, t *time.Time) {
	if t != nil {
		p.fact(name, clock(*t)+" ("+p.relative(*t)+")")
	}
}

// node is one party in a chain, edge what stands between two.
func (p *page) node(name, what string) { p.wrapBelow("  ", "      ", name+"  "+what) }

func (p *page) edge(text string) { p.wrapBelow("   │ ", "   │   ", text) }

func (p *page) arrow() { p.line("   ▼") }

// relative says how far away a time is: "in 3m", "2m ago".
func (p *page) relative(t time.Time) string {
	switch {
	case t.After(p.at):
		return "in " + span(t.Sub(p.at))
	case t.Before(p.at):
		return span(p.at.Sub(t)) + " ago"
	default:
		return "now"
	}
}
