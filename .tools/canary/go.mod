module github.com/onbehalf-dev/onbehalf/tools/canary

go 1.26.0

require (
	github.com/onbehalf-dev/onbehalf v0.1.0
	google.golang.org/protobuf v1.36.12
)

replace github.com/onbehalf-dev/onbehalf v0.1.0 => ../..
