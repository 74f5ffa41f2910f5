package keys

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

const (
	// Path is where services find the public keys.
	Path = "/.well-known/onbehalf/jwks.json"

	// maxAge is how long others may keep the document. Services ask again in the
	// same interval; a key is published long before it signs.
	maxAge = "public, max-age=300"
)

// Handler serves what published returns as a JSON Web Key Set. It answers 304
// to whoever has it already, and 500 if the keys do not make a set, so that
// services keep the one they have.
func Handler(published func() []principal.Key, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		document, err := keyset.Marshal(published())
		if err != nil {
			log.ErrorContext(r.Context(), "the keys that are published do not make a set", "error", err)
			http.Error(w, "the key set is not available", http.StatusInternalServerError)
			return
		}
		sum := sha256.Sum256(document)
		tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
		w.Header().Set("Cache-Control", maxAge)
		w.Header().Set("Etag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write(document) // the client may have gone
	})
}

// ReadLinks reads the link keys of services, a JSON Web Key Set. A file that
// could add an authority would make whoever may write it an issuer, so it has
// link keys only.
func ReadLinks(path string) ([]principal.Key, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	links, skipped, err := keyset.Parse(data)
	if err = errors.Join(append(skipped, err)...); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, k := range links {
		if k.Role != principal.RoleLink {
			return nil, fmt.Errorf("%s: the key %s of %q is not a link key; publish only those of services", path, k.ID, k.Owner)
		}
	}
	return links, nil
}
