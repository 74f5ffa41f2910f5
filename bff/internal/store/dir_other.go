//go:build !linux && !darwin && !freebsd

package store

import (
	"errors"
	"os"
)

var errSystem = errors.New("store: an embedded store needs Linux, macOS or FreeBSD; use an external one")

func lockDir(string) (*os.File, error) { return nil, errSystem }

func checkDir(string) error { return errSystem }

func freeSpace(string) (uint64, error) { return 0, errSystem }
