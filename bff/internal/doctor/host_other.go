//go:build !linux && !darwin && !freebsd

package doctor

import "io/fs"

func owner(fs.FileInfo) (uid int, known bool) { return 0, false }

// writable believes it; the start of the edge tells.
func writable(string) bool { return true }
