// Package journal is the durable, append-only log under the broker: frames of
// bytes go in, each gets a position that never changes, and a group commit
// makes everything that waits durable with one fdatasync.
//
// It knows frames, positions, segments and files. It may not know MQTT, what a
// frame means, or what anybody keeps of it: which positions are still needed
// is decided by whoever calls [Journal.Remove]. It reads no clock; stamps are
// given to it.
//
// Three parties use one [Journal] at the same time:
//
//   - one goroutine appends: [Journal.Reserve], [Journal.Seal];
//   - one goroutine commits: [Journal.Commit];
//   - any number read, each with its own [Reader].
//
// Driven from a single goroutine it is deterministic: the same calls make the
// same file operations in the same order, with the same bytes. The simulator
// depends on that.
//
// The bytes on disk are drawn in docs/format/journal.md and in format.go.
package journal
