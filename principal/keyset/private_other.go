//go:build !unix

package keyset

import (
	"errors"
	"os"
)

// Who may read a file cannot be told or set here in the same way.
var errNotUnix = errors.New("private keys are kept in files on Unix only")

func openPrivate(string) (*os.File, error) { return nil, errNotUnix }

func writeNew(string, []byte, func(*os.File) error) error { return errNotUnix }
