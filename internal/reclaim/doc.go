// Package reclaim finds out what the journal keeps for nobody, and has it
// rewritten without that: the bytes stay below twice what is needed and two
// segments, whatever one forgotten session pins.
//
// It works like a garbage collector. There is no count for each message; now and
// then, when the journal has become large beside what was needed last, a [Round]
// marks what is needed in the segments that may have garbage, measures it, and has
// those rewritten that are more than half empty, small neighbours together.
//
// What is needed is what the checkpoint needs that recovery would start from, read
// from a snapshot of the store while everything else goes on, and what sessions
// without durable state wait for, which the loop walks over in slices. It can only
// become less later ([broker.Live] says why), so that a mark needs no barrier but
// for the walk.
//
// It decides and calls; it may not know files, threads or clocks: the driver says
// what time it is, and where the slow parts run.
package reclaim
