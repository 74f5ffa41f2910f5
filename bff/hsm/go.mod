module github.com/onbehalf-dev/onbehalf/bff/hsm

go 1.26.0

require (
	github.com/ThalesGroup/crypto11 v1.6.2
	github.com/google/go-cmp v0.7.0
	github.com/miekg/pkcs11 v1.1.2
	github.com/onbehalf-dev/onbehalf v0.1.0
)

require (
	github.com/pkg/errors v0.9.1 // indirect
	github.com/thales-e-security/pool v0.0.2 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

// It is never released, and outside the workspace: it needs a C compiler, which nothing else here does.
replace github.com/onbehalf-dev/onbehalf v0.1.0 => ../..
