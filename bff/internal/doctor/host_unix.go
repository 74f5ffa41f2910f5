//go:build linux || darwin || freebsd

package doctor

import (
	"io/fs"
	"syscall"
)

func owner(info fs.FileInfo) (uid int, known bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

func writable(dir string) bool {
	const writeAndEnter = 2 | 1
	return syscall.Access(dir, writeAndEnter) == nil
}
