package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// dataDirectory is the name of the checks of it.
const dataDirectory = "data_dir"

// dataDir looks at the directory itself. The keys and the token in it are looked
// at with the configuration.
func dataDir(dir string) []Finding {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		parent := existing(filepath.Dir(dir))
		if !writable(parent) {
			return one(dataDirectory, Problem, fmt.Sprintf("%s is not there and cannot be made: %s is not writable for user %d", dir, parent, os.Geteuid()))
		}
		return append(one(dataDirectory, OK, dir+" is made at the first start"), losable(parent)...)
	}
	if err != nil {
		return one(dataDirectory, Problem, err.Error())
	}
	mode := info.Mode().Perm()
	switch uid, known := owner(info); {
	case !info.IsDir():
		return one(dataDirectory, Problem, dir+" is not a directory: move it away")
	case known && uid != os.Geteuid():
		return one(dataDirectory, Problem, fmt.Sprintf("%s belongs to user %d, and this is user %d: run chown %[3]d %[1]s, or doctor as the edge's user",
			dir, uid, os.Geteuid()))
	case mode&0o002 != 0:
		return one(dataDirectory, Problem, fmt.Sprintf("%s has the mode %04o, so that everybody can change it: run chmod 700 %[1]s", dir, mode))
	case !writable(dir):
		return one(dataDirectory, Problem, dir+" is not writable: the edge could not start, or not rotate its keys")
	case mode&0o077 != 0:
		text := fmt.Sprintf("%s has the mode %04o, which lets others look into it: run chmod 700 %[1]s", dir, mode)
		return append(one(dataDirectory, Warning, text), losable(dir)...)
	default:
		return append(one(dataDirectory, OK, dir+" is for this user alone"), losable(dir)...)
	}
}

func losable(dir string) []Finding {
	if kind := shortLived(dir); kind != "" {
		return one(dataDirectory, Warning, dir+" is in "+kind+": keys and revocations are lost with it; put a volume there")
	}
	return nil
}

// existing returns the innermost directory that is there.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || filepath.Dir(dir) == dir {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}
