// Package proto holds the .proto files that a service's own .proto files import
// to write access rules. A repository gets them with the tool in proto/export,
// the same version as its Go code; their generated Go is in this module already.
package proto

import "embed"

// Files are access.proto and what it imports beside google/protobuf, by the
// paths under which they are imported ("onbehalf/principal/v1/access.proto").
//
//go:embed onbehalf/principal/v1/access.proto
var Files embed.FS
