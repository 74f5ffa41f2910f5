package main

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/onbehalf-dev/onbehalf/principal"
)

// decision is what one service decided about one call.
type decision struct {
	service, method string
	allowed         bool
	reason          string
	who, via        string
	scopes          []string
}

// decisions collects what the services tell about their calls.
type decisions struct {
	mu        sync.Mutex
	made      []decision
	principal *principal.Principal // of the last call that was let in
}

// Observe implements [principal.Observer].
func (d *decisions) Observe(_ context.Context, e *principal.Event) {
	if e.Decision == principal.Ended { // it was let in, and shown, before
		return
	}
	made := decision{
		service: e.Service, method: e.Procedure[strings.LastIndexByte(e.Procedure, '/')+1:],
		allowed: e.Decision == principal.Allowed, who: "nobody known",
	}
	if strings.Contains(e.Procedure, " ") { // a pattern of plain HTTP
		made.method = e.Procedure
	}
	if !made.allowed {
		made.reason = e.Reason.String()
	}
	if p := e.Principal; p != nil {
		made.who, made.via, made.scopes = chain(p), strings.Join(p.Path(), " → "), p.Scopes()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made = append(d.made, made)
	if made.allowed {
		d.principal = e.Principal
	}
}

// chain draws the delegations.
func chain(p *principal.Principal) string {
	text := short(p.Subject())
	var textSb50 strings.Builder
	for _, d := range p.Delegations() {
		textSb50.WriteString(" ▸ " + short(d.Actor))
	}
	text += textSb50.String()
	return text
}

// short leaves enough of an id to tell it from the others.
func short(i principal.Identity) string {
	id := i.String()
	if len(id) > 12 {
		return id[:11] + "…"
	}
	return id
}

func (d *decisions) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.made = nil
}

func (d *decisions) list() []decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.made)
}
