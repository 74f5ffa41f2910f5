package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

const (
	mintLinked = "linked"
	mintRelay  = "relay"

	maxMintLife = 5 * time.Minute
)

type mintCmd struct {
	NewKey string `help:"Make a development key in this new file, and print its public half as a key set." placeholder:"FILE" xor:"key"`
	Key    string `help:"The development key to sign with." placeholder:"FILE" xor:"key"`
	Public bool   `help:"Print the public half of --key as a key set, for those who are to believe it."`

	Issuer   string `help:"Who signs: dev:NAME, or a URL with localhost or a host in .localhost or .test." default:"dev:local" placeholder:"ISSUER"`
	Audience string `help:"The service that is to take it, or mesh:NAME with --mode relay." placeholder:"NAME"`
	Mode     string `help:"linked, for one service, or relay, for a trust domain." enum:"linked,relay" default:"linked" placeholder:"MODE"`

	Human   string   `help:"The human whose authority it is: a name or a UUID." placeholder:"NAME" xor:"subject"`
	Service string   `help:"The service that calls in its own right." placeholder:"NAME" xor:"subject"`
	Agent   []string `help:"An agent that acts for the human or service, or for itself; each one more for the one before." placeholder:"NAME" sep:"none"`

	Scope     []string      `help:"A scope. May be repeated." placeholder:"SCOPE" sep:"none"`
	Role      []string      `help:"A role. May be repeated." placeholder:"ROLE" sep:"none"`
	Tenant    string        `help:"The tenant." placeholder:"NAME"`
	Presenter string        `help:"The service that hands it over, for methods that ask for a caller." placeholder:"NAME"`
	MaxLinks  uint32        `help:"How many services may pass it on; 6 unless named. Linked only." default:"6" placeholder:"N"`
	Life      time.Duration `help:"For how long it is valid, 5m at most." default:"5m" placeholder:"DURATION"`
}

// Help is what kong shows below the flags.
func (*mintCmd) Help() string {
	return `It prints the header, for grpcurl or curl:

  onbehalf mint --new-key dev.pem > dev.jwks   # the service takes its keys from dev.jwks
  grpcurl -H "x-principal-bin: $(onbehalf mint --key dev.pem --audience orders --human alice --scope orders:read)" …

Whoever has an issuer's key can be anyone, so keys of production are refused: a file that does not begin with the line that --new-key writes, ` +
		`a file in the data directory of an edge, and an issuer that is not a name of development. ` +
		`The id of a development key begins with dev-, and an edge does not sign with one.`
}

// Validate is called by kong.
func (c *mintCmd) Validate() error {
	switch {
	case c.NewKey == "" && c.Key == "":
		return errors.New("name the development key with --key, or make one with --new-key")
	case c.NewKey != "" || c.Public:
		return devIssuer(c.Issuer)
	case c.Audience == "":
		return errors.New("--audience is missing: the service that is to take it")
	case c.Human == "" && c.Service == "" && len(c.Agent) == 0:
		return errors.New("nobody is named; use --human, --service or --agent")
	case c.Life < time.Second || c.Life > maxMintLife:
		return errors.New("--life is 1s to 5m")
	case c.Mode == mintRelay && !strings.HasPrefix(c.Audience, "mesh:"):
		return errors.New("--mode relay is for a trust domain: write --audience mesh:NAME")
	case c.Mode == mintRelay && c.Presenter != "":
		return errors.New("--presenter does not belong to --mode relay")
	case c.Mode == mintLinked && strings.HasPrefix(c.Audience, "mesh:"):
		return errors.New("--audience is a trust domain: use --mode relay, or name one service")
	}
	return devIssuer(c.Issuer)
}

// Run is called by kong.
func (c *mintCmd) Run(stdout io.Writer) error {
	if c.NewKey != "" {
		if err := createDevKey(c.NewKey); err != nil {
			return err
		}
	}
	signer, err := devSigner(cmp.Or(c.Key, c.NewKey), c.Issuer)
	if err != nil {
		return err
	}
	if c.NewKey != "" || c.Public {
		set, err := keyset.Marshal([]principal.Key{signer.Key()})
		if err != nil {
			return err
		}
		_, err = stdout.Write(set)
		return err
	}
	p, err := c.principal(time.Now())
	if err != nil {
		return err
	}
	header, err := signer.Sign(p)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, principal.EncodeHeader(header))
	return err
}

func (c *mintCmd) principal(now time.Time) (*principalv1.Principal, error) {
	p := &principalv1.Principal{
		Audience: c.Audience, Presenter: c.Presenter, Tenant: c.Tenant,
		IssuedAt: now.Unix(), ExpiresAt: now.Add(c.Life).Unix(),
		Scopes: ascending(c.Scope), Roles: ascending(c.Role),
	}
	if c.Mode == mintLinked {
		p.MaxLinks = c.MaxLinks
	}
	agents := c.Agent
	subject, kind := cmp.Or(c.Human, c.Service), "hm-"
	if c.Service != "" {
		kind = "svc-"
	}
	if subject == "" {
		subject, kind, agents = agents[0], "am-", agents[1:]
	}
	var err error
	if p.Subject, err = identity(kind, subject); err != nil {
		return nil, err
	}
	for _, agent := range agents {
		actor, err := identity("am-", agent)
		if err != nil {
			return nil, err
		}
		var grant principal.ID
		rand.Read(grant[:])
		p.Delegations = append(p.Delegations, &principalv1.Delegation{GrantId: grant[:], Actor: actor})
	}
	return p, nil
}

// identity reads a name with or without the prefix of its kind, under the
// principal's own issuer.
func identity(prefix, name string) (*principalv1.Identity, error) {
	i, err := principal.ParseIdentity(prefix+strings.TrimPrefix(name, prefix), "none")
	if err != nil {
		return nil, err
	}
	m := i.Proto()
	m.Issuer = ""
	return m, nil
}

func ascending(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}
