// Command export writes the .proto files that access rules need into a
// directory of your repository, for buf or protoc to find them:
//
//	go get -tool github.com/onbehalf-dev/onbehalf/proto/export
//	go tool export third_party/onbehalf
//
// They belong into version control, and are written anew when the module's
// version changes; with -check nothing is written, and the exit code tells a
// build whether that was forgotten. A file that somebody has changed is left as
// it is, and nothing else is written either, unless -force is given. Other files
// in the directory are never touched.
//
// The exit code is 0 if the directory holds the files of this version now; 1 if
// it does not, as -check found or because a file that was changed is in the way;
// and 2 if the command line is wrong, or a file could not be read or written.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/onbehalf-dev/onbehalf/proto"
)

const (
	exitDiffers = 1
	exitFailed  = 2

	usage = `usage: go tool export [-check] [-force] DIRECTORY
Writes the .proto files for access rules into DIRECTORY, such as third_party/onbehalf.
  -check  write nothing; exit with 1 if DIRECTORY differs from this version
  -force  overwrite files that somebody has changed
`
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("export", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	check := flags.Bool("check", false, "")
	force := flags.Bool("force", false, "")
	dir, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "export: %v\n%s", err, usage)
		return exitFailed
	}
	files, err := plan(proto.Files, dir)
	if err != nil {
		fmt.Fprintln(stderr, "export:", err)
		return exitFailed
	}
	if *check {
		return report(files, stdout, stderr)
	}
	return export(files, *force, stdout, stderr)
}

// parse takes flags before and after the directory.
func parse(flags *flag.FlagSet, args []string) (dir string, err error) {
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return "", err
		}
		if args = flags.Args(); len(args) > 0 {
			if dir != "" {
				return "", errors.New("more than one directory is named")
			}
			dir, args = args[0], args[1:]
		}
	}
	if dir == "" {
		return "", errors.New("name the directory to write to")
	}
	return dir, nil
}

// report prints what an export would do.
func report(files []file, stdout, stderr io.Writer) int {
	code := 0
	for _, f := range files {
		if f.state == same {
			fmt.Fprintln(stdout, f.path, "is up to date")
			continue
		}
		fmt.Fprintf(stderr, "export: %s %s: run go tool export%s %s\n", f.path, f.state, f.state.flag(), f.dir)
		code = exitDiffers
	}
	return code
}

func export(files []file, force bool, stdout, stderr io.Writer) int {
	code := 0
	for _, f := range files {
		if f.state == changed && !force {
			fmt.Fprintf(stderr, "export: %s %s: move what you need elsewhere, and run it with -force; nothing was written\n", f.path, f.state)
			code = exitDiffers
		}
	}
	if code != 0 {
		return code
	}
	for _, f := range files {
		if f.state == same {
			fmt.Fprintln(stdout, f.path, "is up to date")
			continue
		}
		if err := f.write(); err != nil {
			fmt.Fprintln(stderr, "export:", err)
			return exitFailed
		}
		fmt.Fprintln(stdout, f.path, "written")
	}
	return 0
}
