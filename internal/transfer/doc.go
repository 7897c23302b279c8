// Package transfer takes sessions with what waits for them out of one broker's
// state and into another's, as JSON lines (docs/operations/export-import.md): for a
// move, for a look, for an edit by hand.
//
// It asks a core, and gives a core what comes in; both are brought up by others.
// It may not know files, sockets or clocks.
package transfer
