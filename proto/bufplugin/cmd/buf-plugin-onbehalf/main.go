// Buf-plugin-onbehalf checks access rules in .proto files. buf starts it; the
// README of the module says how.
package main

import (
	"buf.build/go/bufplugin/check"

	"github.com/onbehalf-dev/onbehalf/proto/bufplugin"
)

func main() { check.Main(bufplugin.NewSpec()) }
