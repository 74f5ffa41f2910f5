package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// state is how a file lies in the directory.
type state int

const (
	missing state = iota
	same
	older   // of another version, as that wrote it
	changed // by somebody, or never ours
)

func (s state) String() string {
	return [...]string{"is missing", "is up to date", "is of another version", "was changed, or is not from here"}[s]
}

// flag is what an export needs to write the file.
func (s state) flag() string {
	if s == changed {
		return " -force"
	}
	return ""
}

// file is a file to export.
type file struct {
	dir     string // as it was named
	path    string // in it
	content []byte
	state   state
}

// plan looks at what lies in the directory; it changes nothing.
func plan(source fs.FS, dir string) ([]file, error) {
	var files []file
	err := fs.WalkDir(source, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(source, name)
		if err != nil {
			return err
		}
		f := file{dir: dir, path: filepath.Join(dir, filepath.FromSlash(name)), content: marked(text)}
		if f.state, err = stateOf(f.path, f.content); err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

func stateOf(path string, content []byte) (state, error) {
	found, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return missing, nil
	}
	if err != nil {
		return 0, err
	}
	found = bytes.ReplaceAll(found, []byte("\r\n"), []byte("\n")) // git may check out so
	switch {
	case bytes.Equal(found, content):
		return same, nil
	case isMarked(found):
		return older, nil
	default:
		return changed, nil
	}
}

const mark = "// Written by go tool export of github.com/onbehalf-dev/onbehalf. DO NOT EDIT. sha256:"

// marked puts a line before the text that says where it is from, with a hash by
// which a later version knows a text that nobody has changed.
func marked(text []byte) []byte {
	return append(fmt.Appendf(nil, "%s%x\n\n", mark, sha256.Sum256(text)), text...)
}

func isMarked(content []byte) bool {
	_, text, _ := bytes.Cut(content, []byte("\n\n"))
	return bytes.Equal(content, marked(text))
}

// write replaces the file at once: a build that reads it meanwhile sees the old
// content or the new one.
func (f *file) write() (err error) {
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // sources are for everybody to read
		return err
	}
	temporary, err := os.CreateTemp(dir, ".export-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.Write(f.content)
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Close())
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), f.path)
}
