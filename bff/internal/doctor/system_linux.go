package doctor

import "syscall"

// What statfs calls the file systems that end with a container or a machine.
const (
	overlayMagic = 0x794c7630
	tmpfsMagic   = 0x01021994
	ramfsMagic   = 0x858458f6
)

// timeError is what adjtimex returns for a clock that nothing keeps right.
const timeError = 5

// synchronised reports what the kernel has been told of its clock.
func synchronised() (synchronised, known bool) {
	state, err := syscall.Adjtimex(new(syscall.Timex)) // asks, and sets nothing
	return state != timeError, err == nil
}

// shortLived returns what a directory is in that does not outlive a restart.
func shortLived(dir string) string {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return ""
	}
	switch uint32(s.Type) {
	case overlayMagic:
		return "the container's own layer"
	case tmpfsMagic, ramfsMagic:
		return "memory"
	default:
		return ""
	}
}
