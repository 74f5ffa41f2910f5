package store_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/onbehalf-dev/onbehalf/bff/internal/store"
)

// serve runs a server with a configuration, of which %s is a directory.
func serve(t *testing.T, config string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(config, "%s", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	options.NoLog, options.NoSigs = true, true
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("not ready")
	}
	return fmt.Sprint("nats://127.0.0.1:", s.Addr().(*net.TCPAddr).Port)
}

// accounts let a client ask the servers how they are set.
const accounts = `
	listen: "127.0.0.1:-1"
	jetstream: {store_dir: "%s/js", sync_interval: "SYNC", max_file_store: 1G}
	system_account: SYS
	accounts: {
		SYS: {exports: [{service: "$SYS.REQ.SERVER.PING.JSZ", response_type: stream}]}
		A: {
			jetstream: {max_file: LIMIT}
			users: [{user: a}]
			imports: [{service: {account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ"}}]
		}
	}
	no_auth_user: a
`

func TestCheckExternal(t *testing.T) {
	t.Parallel()
	for sync, test := range map[string]struct{ limit, want string }{
		"always": {"500M", "ok the server SERVER syncs every write"},
		"2m":     {"1", "error the server SERVER syncs every 2m0s only: set sync_interval: always"},
	} {
		url := serve(t, "server_name: SERVER\n"+strings.NewReplacer("SYNC", sync, "LIMIT", "500M").Replace(accounts))
		s := open(t, store.Settings{URL: url, Replicas: 1})
		r, err := s.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, f := range r.Findings {
			lines = append(lines, fmt.Sprint(f.Severity, " ", f.Text))
		}
		for _, want := range []string{test.want, "error there are 1 copies", "ok a write was acknowledged", "ok the account keeps", "warning the server SERVER uses"} {
			if !strings.Contains(strings.Join(lines, "\n"), want) {
				t.Errorf("%q is not in %q", want, lines)
			}
		}
	}
}

// A bucket of three copies needs three servers, and it is said so.
func TestTooFewServers(t *testing.T) {
	t.Parallel()
	url := serve(t, `listen: "127.0.0.1:-1", jetstream: {store_dir: "%s"}`)
	_, err := store.Open(t.Context(), store.Settings{URL: url, Logger: testLogger(t)})
	if err == nil || !strings.Contains(err.Error(), "replicas") {
		t.Error(err)
	}
}

// A bucket that somebody puts in the place of a newer one is not followed, read
// or written; what was known stays known.
func TestGoneBack(t *testing.T) {
	t.Parallel()
	url := serve(t, `listen: "127.0.0.1:-1", jetstream: {store_dir: "%s"}`)
	settings := store.Settings{URL: url, Replicas: 1, Logger: testLogger(t)}
	s := open(t, settings)
	saved := backup(t, s)
	batches := follow(t, s)
	highest := sequenceOf(t, s)
	var v view
	v.upTo(t, batches, highest)

	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_onbehalf-trust")
	if err != nil {
		t.Fatal(err)
	}
	same := stream.CachedInfo().Config
	older := same
	older.Subjects = []string{"$KV.onbehalf-trust.77.>"}
	older.Metadata = map[string]string{"onbehalf.base": "77", "onbehalf.state": "ready"}
	for _, config := range []jetstream.StreamConfig{older, same} {
		if err := js.DeleteStream(t.Context(), "KV_onbehalf-trust"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(t.Context(), "k", nil); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "not there") {
			t.Error(err)
		}
		if _, err := js.CreateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(t.Context(), "k", nil); !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "older one") {
			t.Error(err)
		}
		if _, err := s.Get(t.Context(), "sequence"); !errors.Is(err, store.ErrUnavailable) {
			t.Error(err)
		}
	}
	if len(batches) > 0 {
		t.Error("something was given:", <-batches)
	}
	if err := store.Restore(t.Context(), settings, bytes.NewReader(saved)); err != nil {
		t.Fatal(err)
	}
	after := sequenceOf(t, open(t, settings))
	if after <= highest {
		t.Errorf("%d was given after %d", after, highest)
	}
	if v.upTo(t, batches, after); v.resets != 2 {
		t.Errorf("%d resets", v.resets)
	}
}

// authority makes certificates, in files.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.issue(t, "ca", true)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *authority) issue(t *testing.T, name string, isCA bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: isCA, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if isCA {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(a.path(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func TestTLS(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	a.issue(t, "server", false)
	a.issue(t, "client", false)
	other.issue(t, "client", false)
	url := serve(t, fmt.Sprintf(`
		listen: "127.0.0.1:-1"
		jetstream: {store_dir: "%%s/js"}
		tls: {cert_file: %q, key_file: %q, ca_file: %q, verify: true}
	`, a.path("server.pem"), a.path("server.key"), a.path("ca.pem")))
	url = strings.Replace(url, "nats:", "tls:", 1)
	good := store.Settings{URL: url, Replicas: 1, CA: a.path("ca.pem"), Cert: a.path("client.pem"), Key: a.path("client.key")}
	sequenceOf(t, open(t, good))
	for name, change := range map[string]func(*store.Settings){
		"another CA":            func(s *store.Settings) { s.CA = other.path("ca.pem") },
		"the system's CAs":      func(s *store.Settings) { s.CA = "" },
		"no client certificate": func(s *store.Settings) { s.Cert, s.Key = "", "" },
		"another's certificate": func(s *store.Settings) { s.Cert, s.Key = other.path("client.pem"), other.path("client.key") },
	} {
		settings := good
		settings.Logger = testLogger(t)
		change(&settings)
		if _, err := store.Open(t.Context(), settings); err == nil {
			t.Errorf("%s: it was opened", name)
		}
	}
}
