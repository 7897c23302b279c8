// Package broker is the core: the state machine that a broker is, without
// anything that makes it hard to test. It has no goroutines, clock, network,
// files or locks: what happened comes in as an Input with the time, what is to
// happen goes out as Effects on Links, and what must survive goes to a Journal as
// records. One goroutine drives it.
//
// It may not know how connections read and write, where the journal keeps its
// bytes, or what time it is.
//
// # Rules that hold everywhere
//
// Durable state changes only in apply*, from a record, and the same functions
// run when a record is appended and when it is read back after a crash. What is
// not in a record (connections, clean sessions, QoS 0) is not durable state.
//
// An effect that promises something has the position of the record that makes it
// true in After; whoever drives the core sends it when that is durable. Effects
// of a link keep their order, so acknowledgements leave in the order of what
// they acknowledge.
//
// Work that grows with the number of messages in an iteration (refilling windows,
// recording acknowledgements, giving out shared messages) is collected in touched
// sessions and done once, in Flush.
//
// A reading order: api.go, core.go, publish.go, deliver.go, acknowledge.go, then
// the others by name.
package broker
