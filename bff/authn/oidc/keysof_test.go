package oidc_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
	"github.com/onbehalf-dev/onbehalf/bff/authn/oidc"
)

// F05: who takes over while an issuer is down has the keys that were there, for as
// long as they are good, and only if they would come from the same place.
func TestF05KeysOfAnAuthenticatorBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newLocalIDP(local)
		before := start(t, []oidc.Issuer{p.config()}, oidc.WithHTTPClient(client(p)))
		p.down.Store(true)
		<-time.After(time.Hour)
		elsewhere := p.config()
		elsewhere.JWKSURI = p.url + "/keys"
		after := start(t, []oidc.Issuer{p.config()}, oidc.WithHTTPClient(client(p)), oidc.WithKeysOf(before))
		other := start(t, []oidc.Issuer{elsewhere}, oidc.WithHTTPClient(client(p)), oidc.WithKeysOf(before))
		none := start(t, []oidc.Issuer{p.config()}, oidc.WithHTTPClient(client(p)), oidc.WithKeysOf(nil))
		if err := before.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := authenticate(t.Context(), after, p.token(time.Now())); err != nil {
			t.Error(err)
		}
		for name, a := range map[string]*oidc.Authenticator{"another place": other, "nothing before": none} {
			if got := reasonOf(authenticate(t.Context(), a, p.token(time.Now()))); got != authn.ReasonUnavailable {
				t.Errorf("%s: %v", name, got)
			}
		}
		<-time.After(23*time.Hour + time.Second)
		if got := reasonOf(authenticate(t.Context(), after, p.token(time.Now()))); got != authn.ReasonUnavailable {
			t.Errorf("a day after they were fetched: %v", got)
		}
	})
}
