package audit

import (
	"log/slog"
	"unicode/utf8"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
)

// maxText bounds what a client chose, in bytes.
const maxText = 256

func (r *Record) attrs() []slog.Attr {
	attrs := make([]slog.Attr, 0, 24)
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, clip(value)))
		}
	}
	text("request_id", r.RequestID)
	text("trace_id", r.TraceID)
	text("client", r.Client)
	text("method", r.Method)
	text("host", r.Host)
	text("path", r.Path)
	text("route", r.Route)
	text("rpc", r.RPC)
	text("decision", string(r.Decision))
	text("reason", string(r.Reason))
	text("credential_issuer", r.CredentialIssuer)
	text("credential_reason", r.CredentialReason)
	text("detail", r.Detail)
	text("upstream_reason", r.UpstreamReason)
	attrs = append(attrs, slog.Int("status", r.Status), slog.Float64("duration_ms", float64(r.Duration.Microseconds())/1000))
	if r.Smuggled > 0 {
		attrs = append(attrs, slog.Int("smuggle_stripped", r.Smuggled))
	}
	if r.Repeated {
		attrs = append(attrs, slog.Bool("repeated", true))
	}
	if r.Omitted > 0 {
		attrs = append(attrs, slog.Int("omitted", r.Omitted))
	}
	if r.Principal != nil {
		attrs = append(attrs, slog.Attr{Key: "principal", Value: slog.GroupValue(r.principal()...)})
	}
	return attrs
}

// principal has the names of [principal.Principal.LogValue], so that the records
// of the edge and of services can be joined.
func (r *Record) principal() []slog.Attr {
	p := r.Principal
	attrs := make([]slog.Attr, 0, 20)
	text := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	list := func(key string, values []string) {
		if len(values) > 0 {
			attrs = append(attrs, slog.Any(key, values))
		}
	}
	actor := p.GetSubject()
	actors := make([]string, len(p.GetDelegations()))
	grants := make([]string, len(p.GetDelegations()))
	for i, d := range p.GetDelegations() {
		actor = d.GetActor()
		actors[i], grants[i] = name(actor), id(d.GetGrantId())
	}
	text("id", id(p.GetId()))
	text("kind", kind(actor).String())
	text("actor", name(actor))
	text("subject", name(p.GetSubject()))
	text("issuer", r.Issuer)
	text("audience", p.GetAudience())
	list("delegations", actors)
	list("grants", grants)
	text("tenant", p.GetTenant())
	list("scopes", p.GetScopes())
	list("roles", p.GetRoles())
	text("client_id", p.GetClientId())
	text("session", id(p.GetSessionId()))
	text("transaction", id(p.GetTransactionId()))
	text("source", p.GetAuthentication().GetSource())
	text("acr", p.GetAuthentication().GetAcr())
	list("amr", p.GetAuthentication().GetAmr())
	return append(attrs, slog.Int64("expires_at", p.GetExpiresAt()))
}

// id formats 16 bytes as a UUID; anything else is "".
func id(b []byte) string {
	if len(b) != len(principal.ID{}) {
		return ""
	}
	return principal.ID(b).String()
}

func kind(i *principalv1.Identity) principal.Kind {
	switch i.GetId().(type) {
	case *principalv1.Identity_HumanUuid, *principalv1.Identity_HumanName:
		return principal.KindHuman
	case *principalv1.Identity_AgentUuid, *principalv1.Identity_AgentName:
		return principal.KindAgent
	case *principalv1.Identity_ServiceName:
		return principal.KindService
	default:
		return 0
	}
}

// name is [principal.Identity.String] of what was signed.
func name(i *principalv1.Identity) string {
	switch v := i.GetId().(type) {
	case *principalv1.Identity_HumanUuid:
		return "hm-" + id(v.HumanUuid)
	case *principalv1.Identity_HumanName:
		return "hm-" + v.HumanName
	case *principalv1.Identity_AgentUuid:
		return "am-" + id(v.AgentUuid)
	case *principalv1.Identity_AgentName:
		return "am-" + v.AgentName
	case *principalv1.Identity_ServiceName:
		return "svc-" + v.ServiceName
	default:
		return ""
	}
}

// clip cuts at a character, not within one.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
