// Package docs runs what the documentation tells people to do, as they would: in
// a directory of its own, with the real edge, a real OpenID provider and services
// that stand in for those of the reader (service). It also follows the links of
// all Markdown files.
//
// What a page's fenced blocks mean here is in their info strings, of which a code
// host shows nothing but the language:
//
//	```yaml file=onbehalf.yaml    the block is written to that file
//	```yaml merge=onbehalf.yaml   its top-level keys replace those of the file, or are added
//	```console                    "$ command" lines are run in bash; other lines are what they print, with "..." for
//	                              anything; a command that prints nothing in the page may print what it likes
//	```console await              the same, again until it prints that
//	```console fails              the same, and the commands have to fail
//	```go source=PATH             the lines stand in that file of the repository, in this order
//
// A comment <!-- not run: why --> before a block says that it is not run, and is
// counted. A comment <!-- run: … --> is run, but not shown to readers.
//
// Addresses such as 127.0.0.1:8080 and orders.internal:9000 become free ones of the
// loopback interface, the same in the whole page, and https://login.example the
// provider. TOKEN is an access token of it for the user alice.
package docs
