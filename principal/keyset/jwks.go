package keyset

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/internal/wire"
)

// The fully-specified names of RFC 9864. "EdDSA" leaves the curve open and is
// not accepted.
const (
	algEd25519 = "Ed25519"
	algES256   = "ES256"
)

// privateMembers hold private or secret keys (RFC 7518, section 6).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv", "seed"}

// Parse reads a JSON Web Key Set; see the package's doc for its members. A key
// that cannot be used does not break the others: it is left out, and skipped
// says why, without what it held. That goes for keys of other types and for
// malformed ones, for a key whose private half is in the document, and for all
// records that share a name or a public key: which of them to believe, nobody
// could say. What is left is fit for [NewStatic].
//
// The error is about the document: not JSON, no list of keys, or a member that
// is there twice.
func Parse(data []byte) (keys []principal.Key, skipped []error, err error) {
	if err := checkJSON(data); err != nil {
		return nil, nil, err
	}
	var document object
	var list []json.RawMessage
	if json.Unmarshal(data, &document) != nil || json.Unmarshal(document["keys"], &list) != nil || list == nil {
		return nil, nil, errors.New("keyset: not an object with a list of keys")
	}
	all := make([]principal.Key, len(list))
	problems := make([]error, len(list))
	for i, raw := range list {
		all[i], problems[i] = parseKey(raw)
	}
	findShared(all, problems)

	for i, problem := range problems {
		switch {
		case problem == nil:
			keys = append(keys, all[i])
		case wire.IsKeyID(all[i].ID):
			skipped = append(skipped, fmt.Errorf("keyset: key %d (%s): %w", i+1, all[i].ID, problem))
		default:
			skipped = append(skipped, fmt.Errorf("keyset: key %d: %w", i+1, problem))
		}
	}
	return keys, skipped, nil
}

// findShared finds the keys that share a name or a public key with another one.
func findShared(keys []principal.Key, problems []error) {
	names := make(map[principal.KeyRef]int)
	points := make(map[string]int)
	for i, key := range keys {
		if problems[i] == nil {
			names[key.KeyRef]++
			points[pointOf(key.Public)]++
		}
	}
	for i, key := range keys {
		switch {
		case problems[i] != nil:
		case names[key.KeyRef] > 1:
			problems[i] = errors.New("another key has the same role, owner and kid")
		case points[pointOf(key.Public)] > 1:
			problems[i] = errors.New("another record has the same public key")
		}
	}
}

// parseKey returns the key, or what is wrong with it and as much of its name as
// is known.
func parseKey(raw json.RawMessage) (key principal.Key, err error) {
	var o object
	if json.Unmarshal(raw, &o) != nil || o == nil {
		return key, errors.New("not an object")
	}
	if key.ID, err = o.text("kid"); err != nil {
		return key, err
	}
	for _, name := range privateMembers {
		if _, ok := o[name]; ok {
			return key, errors.New("it is not only the public half")
		}
	}
	public, alg, err := parsePublic(o)
	if err != nil {
		return key, err
	}
	if key.Public, err = principal.NewPublicKey(public); err != nil {
		return key, err
	}
	if err := o.is("alg", alg); err != nil {
		return key, err
	}
	if err := o.is("use", "sig"); err != nil {
		return key, err
	}
	role, err := o.text("onb_role")
	if err != nil {
		return key, err
	}
	if key.Role, err = parseRole(role); err != nil {
		return key, err
	}
	if key.Owner, err = o.text("onb_owner"); err != nil {
		return key, err
	}
	if key.NotBefore, err = o.seconds("nbf"); err != nil {
		return key, err
	}
	if key.NotAfter, err = o.seconds("exp"); err != nil {
		return key, err
	}
	if key.Check() != nil {
		return key, errors.New("no header can name its owner or kid")
	}
	return key, checkRecord(&key)
}

func parsePublic(o object) (key crypto.PublicKey, alg string, err error) {
	kty, err := o.text("kty")
	if err != nil {
		return nil, "", err
	}
	if kty != "OKP" && kty != "EC" {
		return nil, "", errors.New("kty is not OKP or EC")
	}
	crv, err := o.text("crv")
	if err != nil {
		return nil, "", err
	}
	x, err := o.coordinate("x")
	if err != nil {
		return nil, "", err
	}
	switch {
	case kty == "OKP" && crv == "Ed25519":
		if _, ok := o["y"]; ok {
			return nil, "", errors.New("y in an OKP key")
		}
		return ed25519.PublicKey(x), algEd25519, nil
	case kty == "EC" && crv == "P-256":
		y, err := o.coordinate("y")
		if err != nil {
			return nil, "", err
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil, "", errors.New("not a point of P-256")
		}
		return public, algES256, nil
	default:
		return nil, "", errors.New("crv is not Ed25519 or P-256")
	}
}

func parseRole(s string) (principal.KeyRole, error) {
	for _, role := range []principal.KeyRole{principal.RoleAuthority, principal.RoleLink} {
		if s == role.String() {
			return role, nil
		}
	}
	return 0, errors.New("onb_role is not authority or link")
}

// checkRecord finds what only a document has no room for, or should not say.
func checkRecord(key *principal.Key) error {
	for _, t := range []time.Time{key.NotBefore, key.NotAfter} {
		if !t.IsZero() && (t.Unix() < 1 || t.Unix() > maxSeconds) {
			return errors.New("its window is not between 1970 and 9999")
		}
	}
	if !key.NotBefore.IsZero() && !key.NotAfter.IsZero() && key.NotAfter.Unix() <= key.NotBefore.Unix() {
		return errors.New("its window is empty")
	}
	return nil
}

// jwk is a public key as Marshal writes it.
type jwk struct {
	ID        string `json:"kid"`
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y,omitempty"`
	Alg       string `json:"alg"`
	Use       string `json:"use"`
	Role      string `json:"onb_role"`
	Owner     string `json:"onb_owner"`
	NotBefore int64  `json:"nbf,omitempty"`
	NotAfter  int64  `json:"exp,omitempty"`
}

// Marshal writes a JSON Web Key Set in the order of keys. Windows are cut to
// whole seconds. It refuses what [NewStatic] refuses, but no keys at all are a
// set as well: to those who follow it, all are revoked.
func Marshal(keys []principal.Key) ([]byte, error) {
	if len(keys) > 0 {
		if _, err := NewStatic(keys...); err != nil {
			return nil, err
		}
	}
	document := struct {
		Keys []jwk `json:"keys"`
	}{make([]jwk, 0, len(keys))}
	for i := range keys {
		if err := checkRecord(&keys[i]); err != nil {
			return nil, fmt.Errorf("keyset: %s key %q of %q: %w", keys[i].Role, keys[i].ID, keys[i].Owner, err)
		}
		document.Keys = append(document.Keys, newJWK(&keys[i]))
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // an owner is a URL and should read like one
	if err := enc.Encode(document); err != nil {
		return nil, fmt.Errorf("keyset: %w", err)
	}
	return out.Bytes(), nil
}

func newJWK(key *principal.Key) jwk {
	j := jwk{ID: key.ID, Use: "sig", Role: key.Role.String(), Owner: key.Owner}
	encode := base64.RawURLEncoding.EncodeToString
	if point := []byte(pointOf(key.Public)); len(point) == ed25519.PublicKeySize {
		j.Type, j.Curve, j.Alg, j.X = "OKP", "Ed25519", algEd25519, encode(point)
	} else {
		j.Type, j.Curve, j.Alg, j.X, j.Y = "EC", "P-256", algES256, encode(point[1:33]), encode(point[33:])
	}
	if !key.NotBefore.IsZero() {
		j.NotBefore = key.NotBefore.Unix()
	}
	if !key.NotAfter.IsZero() {
		j.NotAfter = key.NotAfter.Unix()
	}
	return j
}
