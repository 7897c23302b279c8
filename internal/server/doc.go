// Package server puts the broker together: it opens the data folder, recovers
// the core, listens, and drives the core with one loop. It owns everything that
// the core may not have: goroutines, clocks, files, sockets, and the log.
//
// It may not decide what a packet means (package broker) or what a byte on the
// wire or on the disk means (packages conn, journal and state), and it knows
// neither flags nor configuration files (packages cli and config).
//
// # Goroutines
//
//	connections --batches--> inbox --> loop --seal--> committer
//	     ^                             |  ^               |
//	     '------- durable effects -----'  '--- durable ---'
//
// The loop alone touches the core and appends to the journal. In each turn it
// takes all batches that wait (up to a bound), runs the core over them, seals
// what the core appended, and hands out the effects whose records are durable;
// the others wait in the order of their connection. The committer writes and
// syncs all that is sealed at once and wakes the loop. So the slower the disk,
// the larger the groups, and nothing is acknowledged before it is durable.
//
// A checkpoint is taken by the loop in slices, between its turns, and written by
// a goroutine of its own, after the journal is durable up to where it began.
package server
