package contract_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// attack is a header that is presented to a service, and what becomes of it.
type attack struct {
	name string
	// at is the service under test; s2 if empty.
	at string
	// mtls makes the service check who presents; peer are the SPIFFE IDs in that
	// one's certificate, none if it shows none.
	mtls bool
	peer []string
	// gateways are transparent to the service.
	gateways []string
	// header returns the chain and the opening, for cases of one header.
	header func() (chain, string)
	// values returns the values as text, for all others.
	values func() []string
	// rule is the method's; any kind if nil.
	rule *principalv1.AccessRule
	// reason is why it is refused; 0 for what is accepted.
	reason principal.Reason
	// before says that grpc-go refuses before any interceptor, without a record.
	before bool
	// unread says that no key may be looked up, let alone used.
	unread bool
}

func (a attack) make() (values []string, want facts) {
	if a.header == nil {
		return a.values(), facts{}
	}
	c, opening := a.header()
	values = []string{text(c.header(opening))}
	if a.reason == 0 {
		want = expected(c)
	}
	return values, want
}

func spiffe(service string) []string { return []string{"spiffe://" + trustDomain + "/" + service} }

// run presents every attack to every stack in every protocol and shape.
func run(t *testing.T, attacks []attack) {
	t.Helper()
	for _, s := range stacks {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, a := range attacks {
				t.Run(a.name, func(t *testing.T) { a.run(t, s) })
			}
		})
	}
}

func (a attack) run(t *testing.T, s stack) {
	service := a.at
	if service == "" {
		service = "s2"
	}
	var options []principal.VerifierOption
	if a.mtls {
		options = append(options, principal.WithMTLS(trustDomain, nil))
	}
	if a.gateways != nil {
		options = append(options, principal.WithTransparentGateways(a.gateways...))
	}
	rule := a.rule
	if rule == nil {
		rule = anyKind()
	}
	keys, events := newKeySet(), new(record)
	verifier := verifierOf(t, service, keys, options...)
	guard := guardOf(t, verifier, rules(rule), principal.WithObserver(events), principal.WithObserver(logObserver))
	srv := a.start(t, s, guard)
	for _, p := range s.protocols {
		client := a.newPeer(t, srv, p)
		for _, sh := range shapes {
			values, want := a.make()
			finds := keys.finds.Load()
			echoed, o, err := client.call(t.Context(), sh, http.Header{"X-Principal-Bin": values})
			contexts, arrived, _ := srv.app.take()
			happened := events.take()
			where := string(p) + " " + sh.String()
			if a.before && p == grpcProtocol && s.name == "grpc-go" {
				if len(contexts) != 0 || len(happened) != 0 || err == nil && o.code == principal.CodeOK {
					t.Errorf("%s: %d handler calls, events %v, outcome %+v, %v; want a refusal by the transport", where, len(contexts), happened, o, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", where, err)
				continue
			}
			if a.unread && keys.finds.Load() != finds {
				t.Errorf("%s: keys were looked up", where)
			}
			if a.reason != 0 {
				refused(t, where, a.reason, o, happened, len(contexts))
				continue
			}
			accepted(t, where, o, happened, len(contexts), len(echoed))
			if len(contexts) != 1 {
				continue
			}
			got, _ := principal.FromContext(contexts[0])
			if got == nil {
				t.Errorf("%s: the handler saw no principal", where)
				continue
			}
			if diff := cmp.Diff(want, factsOf(got), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: principal (-want +got):\n%s", where, diff)
			}
			if diff := cmp.Diff([][]string{values}, arrived); diff != "" {
				t.Errorf("%s: the case did not arrive as it is (-want +got):\n%s", where, diff)
			}
		}
	}
}

func (a attack) start(t *testing.T, s stack, g *principal.Guard) *server {
	t.Helper()
	if a.mtls {
		return s.start(t, g, new(app), serverTLS(t))
	}
	return s.start(t, g, new(app), nil)
}

func (a attack) newPeer(t *testing.T, srv *server, p protocol) *peer {
	t.Helper()
	if a.mtls {
		return newPeer(t, srv, p, clientTLS(t, a.peer...))
	}
	return newPeer(t, srv, p, nil)
}

// refused holds for every refusal, whatever was refused.
func refused(t *testing.T, where string, reason principal.Reason, o outcome, events []principal.Event, handled int) {
	t.Helper()
	want := outcome{code: reason.Code(), message: reason.Code().Message(), reason: reason.String()}
	if o != want {
		t.Errorf("%s: the caller was told %+v, want %+v", where, o, want)
	}
	if handled != 0 {
		t.Errorf("%s: the handler ran", where)
	}
	if len(events) != 1 || events[0].Decision != principal.Refused || events[0].Reason != reason {
		t.Errorf("%s: events %+v, want one refusal because of %s", where, events, reason)
	}
}

func accepted(t *testing.T, where string, o outcome, events []principal.Event, handled, echoed int) {
	t.Helper()
	if o != (outcome{}) || handled != 1 || echoed == 0 {
		t.Errorf("%s: outcome %+v, handler ran %d times, %d messages came back", where, o, handled, echoed)
	}
	if len(events) != 1 || events[0].Decision != principal.Allowed || events[0].Reason != 0 {
		t.Errorf("%s: events %+v, want one call that was allowed", where, events)
	}
}

// one is a case of one header value as text.
func one(header func() string) func() []string {
	return func() []string { return []string{text(header())} }
}

func linkedTo(service string, edit ...func(*principalv1.Principal)) func() (chain, string) {
	return func() (chain, string) { return authority(alice(service, edit...)), "A" }
}

func joined(values ...string) []string { return []string{strings.Join(values, ",")} }
