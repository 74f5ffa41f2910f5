package adopt_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	getLoan = "/loans.v1.LoanService/GetLoan"
	repay   = "/loans.v1.LoanService/Repay"
	health  = "/grpc.health.v1.Health/Check"

	exported = "third_party/onbehalf"
	access   = exported + "/onbehalf/principal/v1/access.proto"
)

func TestBefore(t *testing.T) {
	t.Parallel()
	r := clone(t, "before")
	r.buf("lint")
	r.buf("generate")
	r.run("go", "vet", "./...")
	r.run("go", "test", "./...")
	address := freeAddress(t)
	ctx := r.start(address)
	expect(ctx, t, address, getLoan, codes.OK)
	expect(ctx, t, address, health, codes.OK)
}

// In all of these, the service's own principal/v1/principal.proto is in the same
// program as ours: had they the same name, it would panic at its start.
func TestAfter(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*repository){
		"plain": func(r *repository) {
			r.run("go", "tool", "export", "-check", exported)
			r.buf("lint")
			r.buf("generate")
			r.run("go", "vet", "./...")
			r.run("go", "test", "./...")
		},
		"managed mode": func(r *repository) {
			r.replace("proto", ".proto", `(?m)^option go_package = .*\n`, "")
			r.buf("generate", "--template", "buf.gen.managed.yaml")
		},
		"vendored": func(r *repository) {
			r.buf("generate") // go mod vendor reads what the packages import
			r.run("go", "mod", "vendor")
			r.flags += " -mod=vendor -trimpath" // what was compiled is found in the cache, wherever the copy lies
			given := r.read(access)
			r.remove(exported)
			r.run("go", "tool", "export", exported)
			if r.read(access) != given {
				r.t.Error("what is exported from vendor differs")
			}
			r.buf("build")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := clone(t, "after")
			given := r.read("go.mod")
			prepare(r)
			if r.read("go.mod") != given {
				t.Error("the go.mod has to be changed for this")
			}
			e := startEdge(t)
			ctx := r.start(e.upstream, "EDGE="+e.mesh, "ENROLLMENT_TOKEN="+e.token)
			expect(ctx, t, e.upstream, health, codes.OK)
			expect(ctx, t, e.upstream, getLoan, codes.Unauthenticated)
			user := metadata.AppendToOutgoingContext(ctx, userHeader, "alice")
			expect(ctx, t, e.public, getLoan, codes.Unauthenticated)
			expect(user, t, e.public, getLoan, codes.OK)
			expect(user, t, e.public, repay, codes.PermissionDenied)
		})
	}
}

// expect makes a call to an address, and waits for somebody to be there. The
// loan's name and its sum are fields that an empty message does not know.
func expect(ctx context.Context, t *testing.T, address, method string, want codes.Code) {
	t.Helper()
	if got := invoke(ctx, t, address, method); got != want {
		t.Fatalf("%s at %s: %v, want %v; %v", method, address, got, want, context.Cause(ctx))
	}
}

// invoke makes a call, and returns what came of it.
func invoke(ctx context.Context, t *testing.T, address, method string) codes.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var request, response emptypb.Empty
	if method != health {
		request.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "house"))
	}
	err = conn.Invoke(ctx, method, &request, &response, grpc.WaitForReady(true))
	if err == nil && len(response.ProtoReflect().GetUnknown()) == 0 {
		t.Errorf("%s at %s: an empty answer", method, address)
	}
	return status.Code(err)
}
