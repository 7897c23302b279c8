// Package sim runs the broker in a world that it can see through: the real core,
// records, journal, checkpoint store and session code on a simulated disk, with
// simulated clients, network and clocks, all from one seed and on one goroutine.
// The same seed makes the same run.
//
// A run has two parts. In the first everything may fail: the power, the process,
// a sync of the disk, a recovery, a connection, a client's memory of where it was.
// Only safety is asked for. Then the world heals, and what is owed has to arrive:
// every queue runs empty, the journal shrinks, nothing is missing.
//
// Each seed draws its own world (swarm testing): which features there are and how
// likely each thing is, so that rare things are common in some worlds.
//
// What has to be true is said by a model that is simple enough to be believed
// (model.go): it knows only what clients have sent and seen, and nothing of how a
// broker works. Canaries (canary.go) make mistakes on purpose; a test demands that
// the model catches each.
//
// The package may know every part of the broker but the network: it does what
// package server does, with chance in the place of threads.
package sim
