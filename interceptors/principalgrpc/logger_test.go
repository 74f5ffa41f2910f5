package principalgrpc_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/grpclog"

	"github.com/onbehalf-dev/onbehalf/interceptors/principalgrpc"
)

// The messages of grpc-go that quote a header, and some that do not. What the
// server itself logs is covered by case B03 of the tests that all transports
// share.
func TestLogger(t *testing.T) {
	t.Parallel()
	const secret = "CiQKIDAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5"
	for _, c := range []struct{ message, want string }{
		{`[transport] Failed to decode metadata header ("x-principal-bin", "` + secret + `,x"): illegal base64 data`, `[transport] Failed to decode metadata header [withheld: it quotes x-principal-bin]`},
		{`malformed binary metadata "` + secret + `" in header "x-principal-bin"`, `malformed binary metadata [withheld: it quotes x-principal-bin]`},
		{`got map[accept:[*] X_Principal_Bin:[` + secret + `]]`, `got map[accept:[*] [withheld: it quotes x-principal-bin]`},
		{`x.principal.bin=` + secret, `[withheld: it quotes x-principal-bin]`},
		{`[core] Channel switches to new LB policy "pick_first"`, `[core] Channel switches to new LB policy "pick_first"`},
	} {
		var out bytes.Buffer
		l := principalgrpc.NewLogger(grpclog.NewLoggerV2WithVerbosity(&out, &out, &out, 2))
		half := len(c.message) / 2
		for _, log := range []func(){
			func() { l.Info(c.message) }, func() { l.Infoln(c.message) }, func() { l.Infof("%s%s", c.message[:half], c.message[half:]) },
			func() { l.Warning(c.message) }, func() { l.Warningln(c.message) }, func() { l.Warningf("%s%s", c.message[:half], c.message[half:]) },
			func() { l.Error(c.message) }, func() { l.Errorln(c.message) }, func() { l.Errorf("%s%s", c.message[:half], c.message[half:]) },
		} {
			out.Reset()
			log()
			got := strings.TrimSuffix(out.String(), "\n")
			got = got[strings.LastIndex(got, fmt.Sprintf(": %c", c.want[0]))+2:]
			if line, _, _ := strings.Cut(got, "\n"); line != c.want {
				t.Errorf("%q became %q, want %q", c.message, line, c.want)
			}
		}
		if !l.V(2) || l.V(3) {
			t.Error("the verbosity was lost")
		}
	}
}
