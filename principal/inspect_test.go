package principal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	principalv1 "github.com/onbehalf-dev/onbehalf/gen/onbehalf/principal/v1"
	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/internal/forge"
	"github.com/onbehalf-dev/onbehalf/principal/principaltest"
)

// Whatever a verifier refuses for its form, or lets through, is the same here.
func TestInspectVectors(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil || len(files) < 50 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	accepted := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v := parseVector(t, string(text))
		if len(v.headers) != 1 {
			continue
		}
		header, bad := principal.DecodeHeaderForTest(v.headers[0])
		if bad != 0 {
			continue
		}
		i, err := principal.Inspect(header)
		if v.expect != "accept" {
			form := []string{"malformed", "size", "unsupported"}
			if got := principal.ReasonOf(err).String(); slices.Contains(form, got) && got != v.expect {
				t.Errorf("%s: got %s (%v), want %s", file, got, err, v.expect)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		accepted++
		inspectAccepted(t, file, i, header, &v)
	}
	if accepted < 10 {
		t.Errorf("%d vectors were accepted", accepted)
	}
}

func inspectAccepted(t *testing.T, file string, i *principal.Inspection, header string, v *vector) {
	t.Helper()
	var outer principalv1.SignedPrincipal
	var stated principalv1.Principal
	if err := errors.Join(proto.Unmarshal([]byte(header), &outer), proto.Unmarshal(outer.GetAuthority().GetPayload(), &stated)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&stated, i.Stated, protocmp.Transform()); d != "" {
		t.Errorf("%s: %s", file, d)
	}
	sum := 0
	for _, b := range i.Blocks {
		sum += b.Bytes
	}
	if len(outer.GetTailOpening()) > 0 {
		sum += 2 + len(outer.GetTailOpening())
	}
	if sum != len(header) || len(i.Links) != len(outer.GetLinks()) {
		t.Errorf("%s: %d bytes of %d, %d links", file, sum, len(header), len(i.Links))
	}
	for n, r := range i.Signatures(t.Context(), v.keys) {
		if r != 0 {
			t.Errorf("%s: block %d: %s", file, n, r)
		}
	}
}

// The signatures are looked at one by one, as a verifier would.
func TestInspectSignatures(t *testing.T) {
	t.Parallel()
	iss := principaltest.NewIssuer(t)
	first := iss.Header("orders", principaltest.Human("orders:read"))
	ctx := contextOf(t, iss.Verifier("orders"), first)
	h, err := iss.Propagator("orders").Header(ctx, "payments", anyMethod)
	if err != nil {
		t.Fatal(err)
	}
	header := h.Binary()
	i, err := principal.Inspect(header)
	if err != nil {
		t.Fatal(err)
	}
	want := []principal.KeyRef{
		{Role: principal.RoleAuthority, Owner: principaltest.IssuerName, ID: i.Blocks[0].Key.ID},
		{Role: principal.RoleLink, Owner: "orders", ID: i.Blocks[1].Key.ID},
	}
	for n, b := range i.Blocks {
		if b.Key != want[n] || b.Payload == 0 {
			t.Errorf("%+v", b)
		}
	}
	if d := cmp.Diff([]principal.Reason{0, 0}, i.Signatures(t.Context(), iss)); d != "" {
		t.Error(d)
	}
	stranger := principaltest.NewIssuer(t)
	if d := cmp.Diff([]principal.Reason{principal.ReasonUnknownKey, principal.ReasonUnknownKey}, i.Signatures(t.Context(), stranger)); d != "" {
		t.Error(d)
	}

	// A byte of the first block changes what the second one was signed over.
	changed := []byte(header)
	at := strings.Index(header, "orders:read")
	changed[at] = 'x'
	i, err = principal.Inspect(string(changed))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]principal.Reason{principal.ReasonSignature, principal.ReasonSignature}, i.Signatures(t.Context(), iss)); d != "" {
		t.Error(d)
	}
	if i.Stated.GetScopes()[0] != "xrders:read" {
		t.Error("it shows something else than the header says")
	}
}

func TestInspectPrintsNoHeader(t *testing.T) {
	t.Parallel()
	header := principaltest.NewIssuer(t).Header("orders", principaltest.Human("orders:read"))
	i, err := principal.Inspect(header)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb, i); got != "principal.Inspection{not verified}" {
			t.Errorf("%s: %q", verb, got)
		}
	}
	if _, err := principal.Inspect(header[:len(header)-1]); principal.ReasonOf(err) != principal.ReasonMalformed {
		t.Error(err)
	}
	if _, err := principal.Inspect(strings.Repeat("x", 4000)); principal.ReasonOf(err) != principal.ReasonSize {
		t.Error(err)
	}
}

func ExampleInspect() {
	signer, err := principal.NewSigner("https://bff.example.com", forge.Ed25519Key(principal.RoleAuthority, "", "").Private, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	header, err := signer.Sign(&principalv1.Principal{
		Audience: "orders", IssuedAt: 1_760_000_000, ExpiresAt: 1_760_000_000 + int64(time.Minute/time.Second),
		Subject: &principalv1.Identity{Id: &principalv1.Identity_HumanName{HumanName: "alice"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	i, err := principal.Inspect(header) // long expired, and no key is needed
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(i.Stated.GetSubject().GetHumanName(), "says", i.Blocks[0].Key.Owner, "to", i.Stated.GetAudience())
	// Output: alice says https://bff.example.com to orders
}
