package authn_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/bff/authn"
)

// fake finds a credential in one header and answers with what it was given.
type fake struct {
	header string
	result *authn.Result
	err    error
}

func (f fake) Authenticate(_ context.Context, h http.Header) (*authn.Result, error) {
	if h.Get(f.header) == "" {
		return nil, authn.ErrNoCredential
	}
	return f.result, f.err
}

func (f fake) CredentialHeaders() []string { return []string{f.header, "authorization"} }

func TestList(t *testing.T) {
	t.Parallel()
	one, two := new(authn.Result), new(authn.Result)
	refused := &authn.Error{Reason: authn.ReasonSignature}
	down := errors.New("down")
	list := authn.NewList(
		fake{header: "X-One", result: one},
		fake{header: "X-Two", result: two},
		fake{header: "X-Refused", err: refused},
		fake{header: "X-Down", err: down},
		fake{header: "X-Broken"},
	)
	for name, test := range map[string]struct {
		headers []string
		want    *authn.Result
		err     error
		reason  authn.Reason
	}{
		"no credential":                    {err: authn.ErrNoCredential},
		"a header of nobody":               {headers: []string{"X-Other"}, err: authn.ErrNoCredential},
		"the first":                        {headers: []string{"X-One"}, want: one},
		"the second":                       {headers: []string{"X-Two"}, want: two},
		"refused":                          {headers: []string{"X-Refused"}, err: refused},
		"another error":                    {headers: []string{"X-Down"}, err: down},
		"two good ones":                    {headers: []string{"X-One", "X-Two"}, reason: authn.ReasonAmbiguous},
		"a good one and a refused one":     {headers: []string{"X-One", "X-Refused"}, reason: authn.ReasonAmbiguous},
		"a refused one and one that fails": {headers: []string{"X-Refused", "X-Down"}, reason: authn.ReasonAmbiguous},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := make(http.Header)
			for _, header := range test.headers {
				h.Set(header, "x")
			}
			got, err := list.Authenticate(t.Context(), h)
			if got != test.want {
				t.Errorf("got result %p, want %p", got, test.want)
			}
			if test.reason != 0 {
				refusal, ok := errors.AsType[*authn.Error](err)
				if !ok || refusal.Reason != test.reason {
					t.Errorf("got error %v, want reason %v", err, test.reason)
				}
			} else if !errors.Is(err, test.err) {
				t.Errorf("got error %v, want %v", err, test.err)
			}
		})
	}
}

// An authenticator that returns nothing at all must not make anybody anonymous.
func TestListWithoutResult(t *testing.T) {
	t.Parallel()
	got, err := authn.NewList(fake{header: "X-Broken"}).Authenticate(t.Context(), http.Header{"X-Broken": {"x"}})
	if got != nil || err == nil || errors.Is(err, authn.ErrNoCredential) {
		t.Errorf("got %v and %v, want another error", got, err)
	}
}

func TestEmptyList(t *testing.T) {
	t.Parallel()
	if _, err := authn.NewList().Authenticate(t.Context(), http.Header{"Authorization": {"Bearer x"}}); !errors.Is(err, authn.ErrNoCredential) {
		t.Errorf("got %v, want ErrNoCredential", err)
	}
}

func TestListCredentialHeaders(t *testing.T) {
	t.Parallel()
	got := authn.NewList(fake{header: "x-api-key"}, fake{header: "X-Other"}).CredentialHeaders()
	if diff := cmp.Diff([]string{"X-Api-Key", "Authorization", "X-Other"}, got); diff != "" {
		t.Errorf("headers differ (-want +got):\n%s", diff)
	}
}

func TestReasonNames(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for r := authn.ReasonMalformed; r <= authn.ReasonUnavailable; r++ {
		if name := r.String(); name == "" || name == "unknown" || seen[name] {
			t.Errorf("reason %d has the name %q, or shares it", r, name)
		}
		seen[r.String()] = true
	}
	if got := (authn.ReasonUnavailable + 1).String(); got != "unknown" {
		t.Errorf("beyond the list: got %q", got)
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"authn: time":               &authn.Error{Reason: authn.ReasonTime},
		"authn: claims: no subject": &authn.Error{Reason: authn.ReasonClaims, Detail: "no subject"},
	} {
		if got := fmt.Sprintf("%+v", err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func ExampleNewList() {
	authenticator := authn.NewList(
		fake{header: "Authorization", result: new(authn.Result)},
		fake{header: "X-Api-Key", result: new(authn.Result)},
	)
	_, err := authenticator.Authenticate(context.Background(), http.Header{
		"Authorization": {"Bearer eyJ…"},
		"X-Api-Key":     {"one more"},
	})
	fmt.Println(err)
	// Output: authn: ambiguous: credentials of more than one type
}
