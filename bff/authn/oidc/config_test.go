package oidc_test

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

func validIssuer() oidc.Issuer {
	return oidc.Issuer{
		Issuer:   "https://idp.example",
		Audience: []string{"https://api.example"},
		Kinds:    []oidc.KindRule{{Kind: oidc.KindHuman, When: oidc.Condition{Claim: "sub", Present: true}}},
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	url := func(issuer string) func(*oidc.Issuer) { return func(c *oidc.Issuer) { c.Issuer = issuer } }
	const notHTTPS = " is not https; http is allowed to the loopback interface only"
	const noHost = " is not a URL with a host; write one such as https://login.example"
	const elsewhere = " cannot be asked: the address is not one that this provider may have: write private_network: true if it is on a private network or this machine, and meant to be"
	const never = " cannot be asked: nothing is fetched from link-local, metadata, multicast and reserved addresses: write the provider's own"
	const number = " has a number for a host that some read as an IP address; write four decimal numbers or a name"
	keys := func(uri string) func(*oidc.Issuer) { return func(c *oidc.Issuer) { c.JWKSURI = uri } }
	inside := func(issuer string) func(*oidc.Issuer) {
		return func(c *oidc.Issuer) { c.Issuer, c.PrivateNetwork = issuer, true }
	}
	const extra = " has a user, a query or a fragment; leave them out"
	for name, test := range map[string]struct {
		edit func(*oidc.Issuer)
		want string // without the leading issuers[0].
	}{
		"valid":                   {func(*oidc.Issuer) {}, ""},
		"issuer missing":          {url(""), "issuer: missing; write the URL that the provider gives as its own"},
		"issuer without scheme":   {url("idp.example"), `issuer: "idp.example"` + noHost},
		"issuer without host":     {url("https://"), `issuer: "https://"` + noHost},
		"issuer opaque":           {url("https:idp.example"), `issuer: "https:idp.example"` + noHost},
		"issuer a file":           {url("file:///x"), `issuer: "file:///x" is not https; write an https URL`},
		"issuer over http":        {url("http://idp.example"), `issuer: "http://idp.example"` + notHTTPS},
		"issuer at metadata":      {url("http://169.254.169.254"), `issuer: "http://169.254.169.254"` + notHTTPS},
		"issuer short loopback":   {url("http://0x7f.1"), `issuer: "http://0x7f.1"` + number},
		"issuer localhost.evil":   {url("http://localhost.evil.example"), `issuer: "http://localhost.evil.example"` + notHTTPS},
		"issuer with user":        {url("https://user@idp.example"), "issuer:" + extra},
		"issuer with query":       {url("https://idp.example?a"), `issuer: "https://idp.example?a"` + extra},
		"issuer with empty query": {url("https://idp.example?"), `issuer: "https://idp.example?"` + extra},
		"issuer with fragment":    {url("https://idp.example#"), `issuer: "https://idp.example#"` + extra},
		"issuer with NUL":         {url("https://idp.example\x00"), `issuer: "https://idp.example\x00"` + noHost},
		"issuer on loopback":      {url("http://127.0.0.1:8080"), ""},
		"issuer on IPv6":          {url("http://[::1]:8080/realm"), ""},
		"F07 localhost":           {url("http://localhost:8080"), `issuer: "http://localhost:8080"` + elsewhere},
		"F07 localhost over TLS":  {url("https://localhost"), `issuer: "https://localhost"` + elsewhere},
		"F07 localhost, with key": {inside("https://localhost"), ""},
		"F07 metadata over TLS":   {url("https://169.254.169.254"), `issuer: "https://169.254.169.254"` + never},
		"F07 metadata, with key":  {inside("https://169.254.169.254"), `issuer: "https://169.254.169.254"` + never},
		"F07 AWS metadata, IPv6":  {inside("https://[fd00:ec2::254]"), `issuer: "https://[fd00:ec2::254]"` + never},
		"F07 private":             {url("https://10.0.0.5:8443"), `issuer: "https://10.0.0.5:8443"` + elsewhere},
		"F07 private, with key":   {inside("https://10.0.0.5:8443"), ""},
		"F07 unspecified":         {inside("https://0.0.0.0"), `issuer: "https://0.0.0.0"` + never},
		"F07 mapped":              {url("https://[::ffff:127.0.0.1]"), `issuer: "https://[::ffff:127.0.0.1]" has an IPv4 address in the form of IPv6; write the IPv4 address`},
		"F07 long IPv6":           {url("http://[0:0:0:0:0:0:0:1]"), `issuer: "http://[0:0:0:0:0:0:0:1]" has an IP address in an unusual form; write ::1`},
		"F07 hexadecimal":         {url("https://0x7f000001"), `issuer: "https://0x7f000001"` + number},
		"F07 decimal":             {url("https://2130706433"), `issuer: "https://2130706433"` + number},
		"F07 short":               {url("https://127.1"), `issuer: "https://127.1"` + number},
		"F07 octal":               {url("https://0177.0.0.1"), `issuer: "https://0177.0.0.1"` + number},
		"F07 dot":                 {url("https://localhost."), `issuer: "https://localhost." has a dot at the end of its host; leave it out`},
		"F07 percent":             {url("https://%31%32%37.0.0.1"), `issuer: "https://%31%32%37.0.0.1" is not a URL; leave the percent sign out`},
		"F07 percent, not ASCII":  {url("https://%e2%91%a0.example"), `issuer: "https://%e2%91%a0.example" has a host that is no name; write letters, digits, dots and hyphens, other languages as xn--`},
		"F07 IPv6 zone":           {url("https://[fe80::1%25eth0]"), `issuer: "https://[fe80::1%25eth0]" has a percent sign in its host; write the plain name or address`},
		"F07 password":            {url("https://user:canary@idp.example"), "issuer:" + extra},
		"F07 only a user":         {url("https://user@"), "issuer:" + noHost},
		"F07 only a port":         {url("https://:443"), `issuer: "https://:443" has no host; write one`},
		"F07 empty port":          {url("https://idp.example:"), `issuer: "https://idp.example:" has a port that is none; write one of 1 to 65535, or leave it and its colon out`},
		"F07 empty label":         {url("https://idp..example"), `issuer: "https://idp..example" has a host that is no name; write letters, digits, dots and hyphens, other languages as xn--`},
		"F07 gopher":              {url("gopher://idp.example"), `issuer: "gopher://idp.example" is not https; write an https URL`},
		"F07 keys at localhost":   {keys("https://localhost/keys"), `jwks_uri: "https://localhost/keys"` + elsewhere},
		"F07 keys at metadata":    {keys("https://169.254.169.254/"), `jwks_uri: "https://169.254.169.254/"` + never},
		"F07 keys at NAT64":       {keys("https://[64:ff9b::a9fe:a9fe]/"), `jwks_uri: "https://[64:ff9b::a9fe:a9fe]/"` + never},
		"F07 keys in a file":      {keys("file:///etc/passwd"), `jwks_uri: "file:///etc/passwd" is not https; write an https URL`},
		"F07 keys on loopback":    {keys("http://127.0.0.1:8080/keys"), ""},
		"issuer with slash":       {url("https://idp.example/realms/x/"), ""},
		"jwks_uri":                {func(c *oidc.Issuer) { c.JWKSURI = "http://idp.example/keys" }, `jwks_uri: "http://idp.example/keys"` + notHTTPS},
		"audience missing":        {func(c *oidc.Issuer) { c.Audience = nil }, "audience: missing; name the audience your tokens carry"},
		"audience empty":          {func(c *oidc.Issuer) { c.Audience = []string{"a", ""} }, "audience[1]: empty; leave it out"},
		"authorized_parties none": {
			func(c *oidc.Issuer) { c.AuthorizedParties = []string{} },
			"authorized_parties: empty; name some, or leave it out to take the tokens of any client",
		},
		"authorized_parties empty": {func(c *oidc.Issuer) { c.AuthorizedParties = []string{""} }, "authorized_parties[0]: empty; leave it out"},
		"typ":                      {func(c *oidc.Issuer) { c.Typ = "JWT" }, `typ: "JWT" is unknown; write at+jwt or any`},
		"algorithms": {
			func(c *oidc.Issuer) { c.Algorithms = []string{"RS256", "HS256"} },
			`algorithms[1]: "HS256" is unknown or not allowed; take some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA`,
		},
		"per_tenant": {func(c *oidc.Issuer) { c.PerTenant = true }, "tenant_claim: missing; per_tenant needs the claim that has the tenant"},
		"subject":    {func(c *oidc.Issuer) { c.Subject.As = "email" }, `subject.as: "email" is unknown; write derived, uuid or name`},
		"kinds":      {func(c *oidc.Issuer) { c.Kinds = nil }, "kinds: missing; say when a subject is a human, an agent or a service"},
		"kind":       {func(c *oidc.Issuer) { c.Kinds[0].Kind = "user" }, `kinds[0].kind: "user" is unknown; write human, agent or service`},
		"kind claim": {func(c *oidc.Issuer) { c.Kinds[0].When.Claim = "" }, "kinds[0].when.claim: missing; name the claim to look at"},
		"kind twice": {func(c *oidc.Issuer) { c.Kinds[0].When.Equals = "x" }, "kinds[0].when: needs either equals or present: true"},
		"kind never": {func(c *oidc.Issuer) { c.Kinds[0].When.Present = false }, "kinds[0].when: needs either equals or present: true"},
		"service":    {func(c *oidc.Issuer) { c.Kinds[0].Kind = oidc.KindService }, "service.claim: missing; name the claim that has the service's name"},
		"service names": {
			func(c *oidc.Issuer) {
				c.Service = oidc.Service{Claim: "client_id", Names: map[string]string{"x": "Billing"}}
			},
			`service.names: "Billing" is not a service name; use up to 63 of a-z, 0-9, . and -`,
		},
		"scopes":      {func(c *oidc.Issuer) { c.Scopes.Map = map[string]string{"x": "a b"} }, `scopes.map: "a b" has a character that no scope may have; choose another name`},
		"roles":       {func(c *oidc.Issuer) { c.Roles = oidc.Mapping{Claim: "r", Map: map[string]string{"x\n": ""}} }, `roles.map: "x\n" has a control character; choose another name`},
		"roles claim": {func(c *oidc.Issuer) { c.Roles.Map = map[string]string{"x": ""} }, "roles.claim: missing; name the claim that has the roles"},
		"attributes":  {func(c *oidc.Issuer) { c.Attributes = []oidc.Attribute{{}} }, "attributes[0].name: is empty; choose another name\nissuers[0].attributes[0].claim: missing; name the claim to carry"},
		"attribute twice": {
			func(c *oidc.Issuer) {
				c.Attributes = []oidc.Attribute{{Name: "a", Claim: "x"}, {Name: "a", Claim: "y"}}
			},
			`attributes[1].name: "a" is there twice; choose another name`,
		},
		"17 attributes": {
			func(c *oidc.Issuer) {
				for _, name := range numbered("a", 17) {
					c.Attributes = append(c.Attributes, oidc.Attribute{Name: name, Claim: name})
				}
			},
			"attributes: more than 16; a principal carries few and coarse facts",
		},
		"agent":     {func(c *oidc.Issuer) { c.Agents = []oidc.Agent{{}} }, "agents[0].subject: missing; write the act.sub of the agent"},
		"agent NUL": {func(c *oidc.Issuer) { c.Agents = []oidc.Agent{{Subject: "\x00"}} }, "agents[0]: has a NUL; remove it"},
		"agent without tenant": {
			func(c *oidc.Issuer) { c.TenantClaim, c.PerTenant, c.Agents = "tid", true, []oidc.Agent{{Subject: "a"}} },
			"agents[0].tenant: missing; subjects of this issuer are unique within a tenant only",
		},
		"agent with tenant": {
			func(c *oidc.Issuer) { c.Agents = []oidc.Agent{{Subject: "a", Tenant: "acme"}} },
			"agents[0].tenant: only for agents that this issuer names, and with per_tenant; leave it out",
		},
		"agent scopes none": {
			func(c *oidc.Issuer) { c.Agents = []oidc.Agent{{Subject: "a", Scopes: []string{}}} },
			"agents[0].scopes: empty; name some, or leave it out to not restrict the agent",
		},
		"agent scope": {
			func(c *oidc.Issuer) { c.Agents = []oidc.Agent{{Subject: "a", Scopes: []string{"a b"}}} },
			`agents[0].scopes: "a b" has a character that no scope may have`,
		},
		"agent twice": {
			func(c *oidc.Issuer) {
				c.Agents = []oidc.Agent{{Subject: "a"}, {Subject: "a", Issuer: "https://idp.example"}}
			},
			"agents[1]: the same agent as one before; describe each once",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := validIssuer()
			test.edit(&c)
			want := test.want
			if want != "" {
				want = "issuers[0]." + want
			}
			got := ""
			if err := oidc.Validate([]oidc.Issuer{c}); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("error differs (-want +got):\n%s", diff)
			}
			if want == "" {
				return
			}
			if a, err := oidc.New(t.Context(), []oidc.Issuer{c}); a != nil || err == nil || err.Error() != "oidc: "+want {
				t.Errorf("New: got %v and %v", a, err)
			}
		})
	}
}

func TestValidateSeveral(t *testing.T) {
	t.Parallel()
	second := validIssuer()
	second.Audience = nil
	err := oidc.Validate([]oidc.Issuer{validIssuer(), second})
	want := "issuers[1].audience: missing; name the audience your tokens carry\n" +
		"issuers[1].issuer: the same as that of issuers[0]; describe each issuer once"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestNewWithoutIssuers(t *testing.T) {
	t.Parallel()
	if a, err := oidc.New(t.Context(), nil); a != nil || err == nil {
		t.Errorf("got %v and %v, want an error", a, err)
	}
}

// Every field has its name in a configuration file.
func TestYAML(t *testing.T) {
	t.Parallel()
	const text = `
- issuer: https://idp.example
  jwks_uri: https://idp.example/keys
  audience: [https://api.example]
  authorized_parties: [web]
  typ: any
  algorithms: [ES256]
  tenant_claim: tid
  per_tenant: true
  subject: {claim: oid, as: uuid}
  service: {claim: client_id, names: {0oa1: billing}}
  kinds:
    - {kind: service, when: {claim: gty, equals: client-credentials}}
    - {kind: human, when: {claim: sub, present: true}}
  scopes: {claim: scp, map: {Orders.Read: "orders:read", openid: ""}}
  roles: {claim: realm_access.roles}
  client_id_claim: cid
  attributes: [{name: region, claim: loc.region}]
  agents: [{subject: shopping-agent, tenant: acme, scopes: ["orders:read"]}, {issuer: https://agents.example, subject: a}]
`
	var got []oidc.Issuer
	if err := yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := []oidc.Issuer{{
		Issuer:            "https://idp.example",
		JWKSURI:           "https://idp.example/keys",
		Audience:          []string{"https://api.example"},
		AuthorizedParties: []string{"web"},
		Typ:               "any",
		Algorithms:        []string{"ES256"},
		TenantClaim:       "tid",
		PerTenant:         true,
		Subject:           oidc.Subject{Claim: "oid", As: oidc.SubjectUUID},
		Service:           oidc.Service{Claim: "client_id", Names: map[string]string{"0oa1": "billing"}},
		Kinds: []oidc.KindRule{
			{Kind: oidc.KindService, When: oidc.Condition{Claim: "gty", Equals: "client-credentials"}},
			{Kind: oidc.KindHuman, When: oidc.Condition{Claim: "sub", Present: true}},
		},
		Scopes:        oidc.Mapping{Claim: "scp", Map: map[string]string{"Orders.Read": "orders:read", "openid": ""}},
		Roles:         oidc.Mapping{Claim: "realm_access.roles"},
		ClientIDClaim: "cid",
		Attributes:    []oidc.Attribute{{Name: "region", Claim: "loc.region"}},
		Agents: []oidc.Agent{
			{Subject: "shopping-agent", Tenant: "acme", Scopes: []string{"orders:read"}},
			{Issuer: "https://agents.example", Subject: "a"},
		},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("issuers differ (-want +got):\n%s", diff)
	}
	if err := oidc.Validate(got); err != nil {
		t.Error(err)
	}
}
