package hsm_test

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/miekg/pkcs11"

	"github.com/onbehalf-dev/onbehalf/bff/hsm"
)

// What an edge asks of whoever keeps its keys.
var _ interface { //nolint:interfacebloat // bff.Vault, which this module does not import
	Create(ctx context.Context) (id string, key crypto.Signer, err error)
	Open(ctx context.Context, id string) (crypto.Signer, error)
	Delete(ctx context.Context, id string) error
	List(ctx context.Context) ([]string, error)
} = (*hsm.Vault)(nil)

const (
	goodPIN = "canary-5f1e-PIN"
	// tokensPerRun is how many the tests take.
	tokensPerRun = 40
	// childToken makes this binary another edge on the token that it names.
	childToken = "HSM_TEST_CHILD_TOKEN"
)

var (
	module string
	// SoftHSM sees only tokens that were there when it was loaded.
	tokens = make(chan *token, 1000)
)

// token is one that nobody else uses.
type token struct {
	label string
	dir   string // where SoftHSM keeps it
}

func TestMain(m *testing.M) {
	flag.Parse()
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		fmt.Println("skipped: there is no SoftHSM here")
		return
	}
	if module = findModule(); module == "" {
		panic("softhsm2-util is here and its module is not found: name it in SOFTHSM2_MODULE")
	}
	if label := os.Getenv(childToken); label != "" {
		child(label)
		return
	}
	dir, err := os.MkdirTemp("", "hsm")
	if err == nil {
		defer os.RemoveAll(dir)
		err = prepare(dir)
	}
	if err != nil {
		panic(err)
	}
	m.Run()
}

// findModule returns "" if SoftHSM is not where it usually is.
func findModule() string {
	for _, pattern := range []string{
		os.Getenv("SOFTHSM2_MODULE"), "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib*/*/softhsm/libsofthsm2.so",
		"/usr/lib*/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so",
	} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

func prepare(dir string) error {
	conf := filepath.Join(dir, "softhsm2.conf")
	store := filepath.Join(dir, "tokens")
	text := "directories.tokendir = " + store + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := os.Mkdir(store, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	if err := os.Setenv("SOFTHSM2_CONF", conf); err != nil {
		return err
	}
	runs, err := strconv.Atoi(flag.Lookup("test.count").Value.String())
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for n := range runs * tokensPerRun {
		label := fmt.Sprintf("edge %d", n)
		if n%tokensPerRun == 0 {
			label = "edge" // for the example
			if n > 0 {
				continue
			}
		}
		if err := initToken(label); err != nil {
			return err
		}
		entries, err := os.ReadDir(store)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !seen[e.Name()] && label != "edge" {
				tokens <- &token{label, filepath.Join(store, e.Name())}
			}
			seen[e.Name()] = true
		}
	}
	return errors.Join(initToken("twins"), initToken("twins"))
}

func initToken(label string) error {
	init := exec.CommandContext(context.Background(), "softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", goodPIN)
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

func newToken(t testing.TB) *token {
	t.Helper()
	select {
	case token := <-tokens:
		return token
	default:
		t.Fatal("raise tokensPerRun")
		return nil
	}
}

func pin() (string, error) { return goodPIN, nil }

func (tk *token) config() hsm.Config {
	return hsm.Config{Module: module, TokenLabel: tk.label, PIN: pin}
}

func (tk *token) open(t testing.TB) *hsm.Vault {
	t.Helper()
	return open(t, tk.config())
}

func open(t testing.TB, config hsm.Config) *hsm.Vault {
	t.Helper()
	v, err := hsm.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

// raw is another user of the token in this process. A vault has to be open: it
// has initialized the module.
type raw struct {
	*pkcs11.Ctx

	slot    uint
	session pkcs11.SessionHandle
}

func (tk *token) raw(t testing.TB) *raw {
	t.Helper()
	r := &raw{Ctx: pkcs11.New(module)}
	slots, err := r.GetSlotList(true)
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range slots {
		if info, err := r.GetTokenInfo(slot); err != nil {
			t.Fatal(err)
		} else if info.Label == tk.label {
			r.slot = slot
		}
	}
	if r.session, err = r.OpenSession(r.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION); err != nil {
		t.Fatal(err)
	}
	// The session is left open: a module that was loaded anew counts its sessions
	// from 1 again, and another test's could be closed.
	t.Cleanup(r.Destroy)
	return r
}

// find returns the objects of a class that have this id.
func (r *raw) find(t testing.TB, class uint, id string) []pkcs11.ObjectHandle {
	t.Helper()
	err := r.FindObjectsInit(r.session, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
		pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)),
	})
	if err != nil {
		t.Fatal(err)
	}
	objects, _, err := r.FindObjects(r.session, 10)
	if err := errors.Join(err, r.FindObjectsFinal(r.session)); err != nil {
		t.Fatal(err)
	}
	return objects
}
