module github.com/onbehalf-dev/onbehalf/tools/docs

go 1.26.0

require (
	github.com/coreos/go-oidc/v3 v3.21.0
	github.com/onbehalf-dev/onbehalf v0.1.0
)

require (
	connectrpc.com/connect/v2 v2.0.2 // indirect
	github.com/go-jose/go-jose/v4 v4.1.8 // indirect
	golang.org/x/oauth2 v0.37.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

// It is never released, and outside the workspace, as the benchmarks are.
replace github.com/onbehalf-dev/onbehalf v0.1.0 => ../..
