package keys

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/principal"
	"github.com/onbehalf-dev/onbehalf/principal/keyset"
)

const (
	filePrefix = "authority-"
	fileSuffix = ".pem"
	// legacyName is the one key of versions that did not rotate.
	legacyName = "authority.pem"
	// shortReplica is how much of the replica's id stands in names.
	shortReplica = 8
)

var keyID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)

// Files is a [Vault] over files of a data directory: one key each, Ed25519, as
// PKCS#8 PEM, readable by this user alone. Their names are "authority-", the
// first 8 characters of the replica's id, "-", the key's id and ".pem", so that a
// directory's new replica leaves those of an earlier one alone.
type Files struct {
	dir     string
	replica string
	prefix  string
}

// NewFiles opens the vault of a data directory. It makes the directory, for this
// user alone, and the id of its replica, if they are not there. A directory that
// is there may be shared with a group, as volumes of a cluster are; one that
// everybody can write to is refused.
func NewFiles(dir string) (*Files, error) {
	replica, err := Replica(dir)
	if err != nil {
		return nil, err
	}
	return newFiles(dir, replica), nil
}

func newFiles(dir, replica string) *Files {
	return &Files{dir: dir, replica: replica, prefix: filePrefix + replica[:shortReplica] + "-"}
}

// Replica returns the id of the replica whose keys these are.
func (f *Files) Replica() string { return f.replica }

// CheckFiles reads all keys of a data directory, and changes nothing. The error
// says what is wrong with which. A directory that is not there, or has no keys
// yet, is right.
func CheckFiles(dir string) error {
	replica, err := readReplica(filepath.Join(dir, replicaName))
	if errors.Is(err, fs.ErrNotExist) {
		return checkLegacy(dir)
	}
	if err != nil {
		return err
	}
	ctx := context.Background()
	f := newFiles(dir, replica)
	ids, err := f.List(ctx)
	if err == nil && len(ids) == 0 {
		return checkLegacy(dir)
	}
	for _, id := range ids {
		_, e := f.Open(ctx, id)
		err = errors.Join(err, e)
	}
	return err
}

func checkLegacy(dir string) error {
	_, err := keyset.ReadPrivateKey(filepath.Join(dir, legacyName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Sweep removes what a process that died had not finished writing.
func (f *Files) Sweep(context.Context) error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && strings.HasPrefix(strings.TrimLeft(e.Name(), "."), f.prefix) {
			if err := os.Remove(filepath.Join(f.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (f *Files) path(id string) string {
	return filepath.Join(f.dir, f.prefix+id+fileSuffix)
}

// Create makes a key and its file. At no moment could anyone but this user read
// it.
func (f *Files) Create(context.Context) (id string, key crypto.Signer, err error) {
	for range 8 {
		id, key, err = f.create()
		// Another process on this directory has swept.
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil {
		return "", nil, fmt.Errorf("keys: private key not written: %w", err)
	}
	return id, key, nil
}

func (f *Files) create() (id string, key crypto.Signer, err error) {
	// The name is known only when the key is.
	temporary := filepath.Join(f.dir, "."+f.prefix+rand.Text()+".new")
	private, err := keyset.CreatePrivateKey(temporary)
	if err != nil {
		_ = os.Remove(temporary) // not there, or useless
		return "", nil, err
	}
	public, err := principal.NewPublicKey(private.Public())
	if err == nil {
		err = os.Rename(temporary, f.path(public.ID()))
	}
	if err != nil {
		_ = os.Remove(temporary)
		return "", nil, err
	}
	if err := syncDir(f.dir); err != nil {
		return "", nil, errors.Join(err, os.Remove(f.path(public.ID())))
	}
	return public.ID(), private, nil
}

// Open reads a key. It refuses what [keyset.ReadPrivateKey] refuses, and a file
// that holds another key than its name says.
func (f *Files) Open(_ context.Context, id string) (crypto.Signer, error) {
	if !keyID.MatchString(id) {
		return nil, errors.New("keys: not the id of a key")
	}
	key, err := keyset.ReadPrivateKey(f.path(id))
	if err != nil {
		return nil, err
	}
	if public, err := principal.NewPublicKey(key.Public()); err != nil || public.ID() != id {
		return nil, fmt.Errorf("keys: private key %s: it is not the key that its name says", f.path(id))
	}
	return key, nil
}

// Delete removes a key's file.
func (f *Files) Delete(_ context.Context, id string) error {
	if !keyID.MatchString(id) {
		return errors.New("keys: not the id of a key")
	}
	if err := os.Remove(f.path(id)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return syncDir(f.dir)
}

// List returns the ids of all files by when they were last written.
func (f *Files) List(context.Context) ([]string, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, err
	}
	type file struct {
		id      string
		written int64
	}
	var files []file
	for _, e := range entries {
		id, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), fileSuffix), f.prefix)
		if !ok || !strings.HasSuffix(e.Name(), fileSuffix) || !keyID.MatchString(id) {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed in between
		}
		if err != nil {
			return nil, err
		}
		files = append(files, file{id, info.ModTime().UnixNano()})
	}
	slices.SortFunc(files, func(a, b file) int {
		return cmp.Or(cmp.Compare(a.written, b.written), strings.Compare(a.id, b.id))
	})
	ids := make([]string, len(files))
	for i, one := range files {
		ids[i] = one.id
	}
	return ids, nil
}

// Adopt takes over authority.pem, which is where versions that did not rotate
// kept their key, if there is no other: an update does not change the key. One
// that cannot be used is an error.
func (f *Files) Adopt(ctx context.Context) error {
	if ids, err := f.List(ctx); err != nil || len(ids) > 0 {
		return err
	}
	path := filepath.Join(f.dir, legacyName)
	key, err := keyset.ReadPrivateKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	public, err := principal.NewPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := os.Rename(path, f.path(public.ID())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(f.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
