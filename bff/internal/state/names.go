package state

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"google.golang.org/protobuf/proto"

	trustv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/trust/v1"
	"github.com/onbehalf-dev/onbehalf/principal/revocation"
)

const (
	revocationPrefix = "revocation."
	authorityPrefix  = "authority."
	linkPrefix       = "link."
	servicePrefix    = "service."
	tokenPrefix      = "token."
)

// digest is the SHA-256 of a target: all that is remembered of it for long.
type digest [sha256.Size]byte

// RevocationName returns where the revocation of a target is kept.
func RevocationName(t revocation.Target) string {
	return revocationName(digestOf(t))
}

func revocationName(d digest) string { return revocationPrefix + hex.EncodeToString(d[:]) }

// AuthorityName returns where a replica says which keys it signs with.
func AuthorityName(replica string) string { return authorityPrefix + replica }

// LinkName returns where a link key of a service is kept. The dots of the
// service's name are written as "_", which no such name has: two dots in a row
// are no name in the store, and one would separate.
func LinkName(service, id string) string { return linkPrefix + escape(service) + "." + id }

// ServiceName returns where it is kept that a service was revoked.
func ServiceName(service string) string { return servicePrefix + escape(service) }

// TokenName returns where an enrollment token is kept: the token itself is not.
func TokenName(token string) string {
	sum := sha256.Sum256([]byte(token))
	return tokenPrefix + hex.EncodeToString(sum[:])
}

func escape(service string) string { return strings.ReplaceAll(service, ".", "_") }

func digestOf(t revocation.Target) digest { return digestOfProto(t.Proto()) }

// digestOfProto is for a target as revocation.Target writes it, which has one
// form.
func digestOfProto(m *trustv1.Target) digest {
	encoded, _ := marshal(m) // it has valid text only
	return sha256.Sum256(encoded)
}

// marshal encodes what is kept. A message has one encoding: it names a target.
func marshal(m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

func unescape(service string) string { return strings.ReplaceAll(service, "_", ".") }

// digestIn returns the digest in the name of a revocation.
func digestIn(name string) (d digest, ok bool) {
	text := strings.TrimPrefix(name, revocationPrefix)
	if len(text) != hex.EncodedLen(len(d)) {
		return d, false
	}
	_, err := hex.Decode(d[:], []byte(text))
	return d, err == nil && !strings.ContainsAny(text, "ABCDEF")
}
