package main

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
)

// The kinds of what is looked for.
const (
	planted    = "a canary, which a test has put into a credential or a key"
	jwt        = "a JSON Web Token"
	privateKey = "a private key in PEM"
	bearer     = "a bearer credential"
	principal  = "a principal, as it travels in x-principal-bin"
)

var (
	// Tests put canary-… or CANARY-… into what must not come out.
	canaryText = regexp.MustCompile(`(?i)canary-[a-z]`)
	jwtText    = regexp.MustCompile(`(eyJ[A-Za-z0-9_-]{6,})\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{8,}`)
	pemText    = regexp.MustCompile(`-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----`)
	bearerText = regexp.MustCompile(`(?i)\bbearer\s+[A-Za-z0-9._~+/-]{20,}`)
	base64Text = regexp.MustCompile(`[A-Za-z0-9+/_-]{80,}`)
)

// inspect returns what of it a line holds.
func inspect(line string) []string {
	var kinds []string
	add := func(kind string, found bool) {
		if found {
			kinds = append(kinds, kind)
		}
	}
	add(planted, canaryText.MatchString(line))
	add(jwt, holdsJWT(line))
	add(privateKey, pemText.MatchString(line))
	add(bearer, bearerText.MatchString(line))
	add(principal, holdsPrincipal(line))
	return kinds
}

func holdsJWT(line string) bool {
	for _, match := range jwtText.FindAllStringSubmatch(line, -1) {
		data, err := base64.RawURLEncoding.DecodeString(match[1])
		var header map[string]any
		if err == nil && json.Unmarshal(data, &header) == nil && header["alg"] != nil {
			return true
		}
	}
	return false
}

// holdsPrincipal looks at each place at which the first byte of a principal, the
// tag of its authority, can stand in base64: 0x0a is C and one of g to v.
func holdsPrincipal(line string) bool {
	for _, run := range base64Text.FindAllString(line, -1) {
		run = strings.NewReplacer("-", "+", "_", "/").Replace(run)
		for i := 0; i+1 < len(run); i++ {
			if run[i] == 'C' && run[i+1] >= 'g' && run[i+1] <= 'v' && beginsPrincipal(run[i:]) {
				return true
			}
		}
	}
	return false
}

// beginsPrincipal reports whether text begins with an authority whose payload is
// a principal. What comes after that may be cut off, and need not be ours.
func beginsPrincipal(text string) bool {
	data, err := base64.RawStdEncoding.DecodeString(text[:len(text)/4*4])
	if err != nil {
		return false
	}
	number, kind, n := protowire.ConsumeTag(data)
	if number != 1 || kind != protowire.BytesType {
		return false
	}
	data = data[n:]
	if _, n = protowire.ConsumeVarint(data); n < 0 {
		return false
	}
	data = data[n:]
	if number, kind, n = protowire.ConsumeTag(data); n < 0 || number != 1 || kind != protowire.BytesType {
		return false
	}
	payload, n := protowire.ConsumeBytes(data[n:])
	if n < 0 {
		return false
	}
	p := new(principalv1.Principal)
	return proto.Unmarshal(payload, p) == nil && len(p.GetId()) == 16 && p.GetIssuer() != "" && p.GetSubject() != nil
}
