// Package hsm keeps the keys with which an edge signs principals in a hardware
// security module, by PKCS#11. The keys are ECDSA P-256, are made inside and
// never leave it.
//
// [Open] logs in to one token of one module, and a [Vault] makes, finds, uses
// and deletes keys there. A login that is lost, as when the token is pulled out
// or its daemon restarts, is repeated once a second at most, when somebody wants
// to use the vault; until then each use is an error.
//
// A PIN that the token refused is never sent again, and none is sent when the
// token says that one more wrong one would lock it: tokens count.
//
// What it does not protect against: whoever knows the PIN signs and deletes as
// the edge does. Whoever can use the module without the PIN cannot sign, but on
// most tokens can delete or exchange the public halves. A vault notices and does
// not use such a key, and calls it damaged, not missing. A second vault in one
// process, on the same token, shares the login of the first: its PIN is not
// looked at.
//
// It needs cgo, which is why it is a module of its own.
package hsm
