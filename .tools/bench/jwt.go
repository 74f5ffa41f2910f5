package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
	"github.com/onbehalf-dev/onbehalf/tools/bench/measure"
)

// claims says what the standard principal says, in the words of RFC 7519, RFC
// 8693 (act, scope) and OpenID Connect.
type claims struct {
	jwt.RegisteredClaims

	Scope    string   `json:"scope"`
	Tenant   string   `json:"tenant"`
	Session  string   `json:"sid"`
	AuthTime int64    `json:"auth_time"`
	ACR      string   `json:"acr"`
	AMR      []string `json:"amr"`
	Source   string   `json:"source"`
	Actor    *actor   `json:"act"`
}

type actor struct {
	Subject string `json:"sub"`
	Grant   string `json:"grant"`
	Actor   *actor `json:"act,omitempty"` // who acted before
}

func standardClaims() *claims {
	p := standard(linked)
	id := make([]byte, 16)
	rand.Read(id)
	c := &claims{
		RegisteredClaims: jwt.RegisteredClaims{
			ID: uuid(id), Issuer: principaltest.StandardIssuer, Subject: "hm-" + uuid(p.GetSubject().GetHumanUuid()), Audience: jwt.ClaimStrings{p.GetAudience()},
			IssuedAt: jwt.NewNumericDate(time.Unix(p.GetIssuedAt(), 0)), ExpiresAt: jwt.NewNumericDate(time.Unix(p.GetExpiresAt(), 0)),
		},
		Scope: strings.Join(p.GetScopes(), " "), Tenant: p.GetTenant(), Session: uuid(p.GetSessionId()),
		AuthTime: p.GetAuthentication().GetTime(), ACR: p.GetAuthentication().GetAcr(), AMR: p.GetAuthentication().GetAmr(), Source: p.GetAuthentication().GetSource(),
	}
	for _, d := range p.GetDelegations() {
		c.Actor = &actor{Subject: "am-" + uuid(d.GetActor().GetAgentUuid()), Grant: uuid(d.GetGrantId()), Actor: c.Actor}
	}
	return c
}

func uuid(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// jwtPeer issues and verifies tokens of one algorithm, with golang-jwt and the
// checks that a service needs.
type jwtPeer struct {
	method  jwt.SigningMethod
	private crypto.Signer
	public  crypto.PublicKey
	parser  *jwt.Parser
}

func newJWTPeer(method jwt.SigningMethod, private crypto.Signer) *jwtPeer {
	return &jwtPeer{method: method, private: private, public: private.Public(), parser: jwt.NewParser(
		jwt.WithValidMethods([]string{method.Alg()}), jwt.WithIssuer(principaltest.StandardIssuer), jwt.WithAudience(path[0]),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(),
	)}
}

func newES256() (*jwtPeer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return newJWTPeer(jwt.SigningMethodES256, key), nil
}

func newEdDSA() (*jwtPeer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newJWTPeer(jwt.SigningMethodEdDSA, key), nil
}

const jwtKeyID = "k1234567890" // as long as ours

func (j *jwtPeer) sign() (token string, err error) {
	t := jwt.NewWithClaims(j.method, standardClaims())
	t.Header["kid"] = jwtKeyID
	return t.SignedString(j.private)
}

var errJWT = errors.New("the token does not say what it should")

func (j *jwtPeer) verify(token string) (*claims, error) {
	var c claims
	_, err := j.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		if t.Header["kid"] != jwtKeyID {
			return nil, errJWT
		}
		return j.public, nil
	})
	return &c, err
}

// mayRead is the rule of the methods that are called.
func (c *claims) mayRead() error {
	if c.Actor == nil || !slices.Contains(strings.Fields(c.Scope), "payments:read") {
		return errJWT
	}
	return nil
}

// jwtFigures are the figures of tokens that say the same.
func jwtFigures(w *world, _ setting) ([]figure, error) {
	header, err := w.sign(linked)
	if err != nil {
		return nil, err
	}
	raw, err := w.lastBlock(header)
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, newPeer := range []func() (*jwtPeer, error){newES256, newEdDSA} {
		peer, err := newPeer()
		if err != nil {
			return nil, err
		}
		token, err := peer.sign()
		if err != nil {
			return nil, err
		}
		if c, err := peer.verify(token); err != nil || c.mayRead() != nil {
			return nil, errors.Join(errJWT, err)
		}
		name := "golang-jwt " + peer.method.Alg()
		theirs := measure.Work{Name: name, Do: inTurn([]string{token}, func(token string) error {
			_, err := peer.verify(token)
			return err
		})}
		figures = append(figures,
			figure{name: name + ", token", bound: none, unit: characters, measure: counted(measured{value: float64(len(token))})},
			figure{name: name + ", verify", bound: none, unit: times, measure: func(plan measure.Plan) (measured, error) {
				return compareWithAllocations(plan, rawVerify([]*block{raw}), theirs)
			}},
		)
	}
	return figures, nil
}

// newCallToken returns what a call with ES256 needs, for all calls the same.
func newCallToken() (*jwtPeer, string, error) {
	peer, err := newES256()
	if err != nil {
		return nil, "", err
	}
	token, err := peer.sign()
	return peer, token, err
}
