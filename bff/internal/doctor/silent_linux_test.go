package doctor_test

import (
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/bff/internal/doctor"
)

// silent is an address that answers nothing, as behind a NetworkPolicy: nobody
// accepts, and the kernel drops what does not fit into its queue.
func silent(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port))
	for range 16 {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Skip("this kernel does not drop connections that do not fit into its queue")
	return ""
}

func TestMustNotReachWhatIsKeptFromUs(t *testing.T) {
	t.Parallel()
	found := run(t, doctor.Options{MustNotReach: []string{silent(t)}, Within: 300 * time.Millisecond})
	want(t, found, "must not reach", doctor.OK, "no answer in time")
}
