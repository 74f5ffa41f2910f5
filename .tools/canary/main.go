// Command canary looks into what tests have printed for what must never be
// printed: credentials and keys, of which the tests are full (case Z01).
//
// It reads the files that are named, or the standard input, and ends with status 1
// if it finds any. It says where and of what kind each is, never what it is.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

func main() {
	found, err := run(os.Args[1:], os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "canary:", err)
	}
	if err != nil || found > 0 {
		os.Exit(1)
	}
}

// run returns how many lines hold something.
func run(files []string, in io.Reader, out io.Writer) (int, error) {
	if len(files) == 0 {
		return sweep("standard input", in, out)
	}
	found := 0
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return found, err
		}
		n, err := sweep(name, f, out)
		if closed := f.Close(); err == nil {
			err = closed
		}
		if found += n; err != nil {
			return found, err
		}
	}
	return found, nil
}

// maxLine is far more than a test prints in one line.
const maxLine = 64 << 20

func sweep(name string, in io.Reader, out io.Writer) (int, error) {
	found, number := 0, 0
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		number++
		kinds := inspect(lines.Text())
		if len(kinds) > 0 {
			found++
		}
		for _, kind := range kinds {
			if _, err := fmt.Fprintf(out, "%s:%d: %s\n", name, number, kind); err != nil {
				return found, err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return found, fmt.Errorf("%s: %w", name, err)
	}
	_, err := fmt.Fprintf(out, "%s: %d lines, %d of them hold a secret\n", name, number, found)
	return found, err
}
