// Package peers tests the edge together with programs that others wrote: proxies
// before it, an OpenID provider, command line clients and a browser.
//
// Each test starts the program on the loopback interface, or on a Unix socket,
// and ends it. Run them with make peers; a test whose program is not installed is
// skipped.
package peers
