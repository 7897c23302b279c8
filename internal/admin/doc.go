// Package admin is the control socket of a running broker: HTTP over a unix
// socket in the data folder, that only the user who runs the broker (and root)
// can open. Both its ends are here.
//
// It asks the broker through an interface and may not know the journal, the
// checkpoint store or the core: what it tells is what the broker said, of one
// moment.
package admin
