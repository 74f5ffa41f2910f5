package keyset

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxDocument bounds a key set in bytes: about 4,000 keys.
const maxDocument = 1 << 20

// ReadFile reads a set of public keys from a file, a JSON Web Key Set of at
// most 1 MiB. Unlike [Parse] it refuses a file with a key that cannot be used:
// it was written for this program.
func ReadFile(path string) (*Static, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("keyset: %w", err)
	}
	defer f.Close()
	data, err := readUpTo(f, maxDocument)
	if err != nil {
		return nil, fmt.Errorf("keyset: %s: %w", path, err)
	}
	keys, skipped, err := Parse(data)
	if err = errors.Join(append(skipped, err)...); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s, err := NewStatic(keys...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func readUpTo(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("larger than %d bytes", limit)
	}
	return data, err
}
