// Package bufplugin checks access rules in .proto files, as a plugin of buf: while
// a .proto is written (buf lint), and when it is changed (buf breaking).
//
// Programs run the command buf-plugin-onbehalf; README.md says how to add it to a
// buf.yaml. The package exists so that it can be tested.
//
// It knows what stands in the .proto files alone. It does not see rules that a
// program sets with WithMethod or WithService, nor whether its verifier has what a
// rule asks for, such as a revocation feed.
package bufplugin
