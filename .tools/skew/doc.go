// Package skew runs edges and services of two versions with each other, as they
// are while a platform is upgraded: this tree, and the last release or, as long
// as there is none, a state of the tree before.
package skew
