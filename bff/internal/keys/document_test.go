package keys_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"

	"github.com/onbehalf-dev/onbehalf/bff/internal/keys"
)

func TestHandler(t *testing.T) {
	t.Parallel()
	link := newSigner(t, issuer).Key()
	link.Role, link.Owner, link.NotAfter = principal.RoleLink, "orders", time.Unix(2_000_000_000, 0)
	set := []principal.Key{newSigner(t, issuer).Key(), newSigner(t, issuer).Key(), link}
	handler := keys.Handler(func() []principal.Key { return set }, slog.New(slog.DiscardHandler))
	get := func(tag string) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest(http.MethodGet, keys.Path, nil), httptest.NewRecorder()
		if tag != "" {
			r.Header.Set("If-None-Match", tag)
		}
		handler.ServeHTTP(w, r)
		return w
	}
	res := get("")
	tag := res.Header().Get("ETag")
	if h := res.Header(); h.Get("Cache-Control") != "public, max-age=300" || h.Get("Content-Type") != "application/jwk-set+json" || len(tag) < 20 {
		t.Error(h)
	}
	list, skipped, err := keyset.Parse(res.Body.Bytes())
	if err != nil || len(skipped) > 0 || len(list) != len(set) {
		t.Fatal(list, skipped, err)
	}
	for i, k := range list {
		if k.KeyRef != set[i].KeyRef || !k.Public.Equal(set[i].Public) || !k.NotAfter.Equal(set[i].NotAfter) {
			t.Error(k)
		}
	}
	if res := get(tag); res.Code != http.StatusNotModified || res.Body.Len() > 0 || res.Header().Get("ETag") != tag {
		t.Error(res)
	}
	set = set[1:]
	if res := get(tag); res.Code != http.StatusOK || res.Header().Get("ETag") == tag {
		t.Error("others are not told of a change:", res)
	}
	set = append(set, set[0])
	if res := get(""); res.Code != http.StatusInternalServerError || res.Header().Get("Cache-Control") != "" {
		t.Error(res)
	}
}

// Whoever may write the file of link keys must not become an issuer by it.
func TestReadLinks(t *testing.T) {
	t.Parallel()
	jwk := func(role, owner string) string {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf(`{"kid":"k","kty":"OKP","crv":"Ed25519","alg":"Ed25519","use":"sig","x":%q,"onb_role":%q,"onb_owner":%q}`,
			base64.RawURLEncoding.EncodeToString(public), role, owner)
	}
	for name, tt := range map[string]struct {
		file string
		want int
	}{
		"links":      {jwk("link", "orders") + "," + jwk("link", "payments"), 2},
		"none":       {"", 0},
		"authority":  {jwk("link", "orders") + "," + jwk("authority", issuer), -1},
		"no service": {jwk("link", "Not A Service"), -1},
		"broken":     {"{", -1},
	} {
		path := filepath.Join(t.TempDir(), "links.json")
		write(t, path, []byte(`{"keys":[`+tt.file+`]}`), 0o600)
		list, err := keys.ReadLinks(path)
		if (err != nil) != (tt.want < 0) || err == nil && len(list) != tt.want {
			t.Errorf("%s: %v %v", name, list, err)
		}
	}
	if _, err := keys.ReadLinks("/none"); err == nil {
		t.Error("read what is not there")
	}
}
