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
// broker works. Beside it a shadow of the journal (shadow.go) says for each recovery
// which records have to come back. Canaries (canary.go) make mistakes on purpose; a
// test demands that each is caught.
//
// # What can happen
//
//   - the process: ends at any operation of the disk, between them, in recovery, in a
//     checkpoint, in order; recovery starts again from the first step
//   - power: all, nothing or random parts of what was not synced are lost, also parts
//     of a batch, and names of files
//   - the disk: writes, syncs and reads fail; bits of the journal flip while nothing
//     runs, or its newest file is not there; the checkpoint store has forgotten its
//     newest checkpoint; the budget is used up and others take the
//     rest of the room, and give it back; segments are removed and rewritten
//   - sync: always, an interval, never
//   - clocks: the wall clock jumps, also while the broker runs and to 1970; the machine
//     sleeps; a restart has an earlier wall clock
//   - clients: MQTT 3.1, 3.1.1 and 5.0; sessions that are kept, that expire, clean ones;
//     take-over with the old connection alive, which acknowledges late; packets in two
//     parts, of which the second is lost; identifiers used again at once;
//     acknowledgements in any order, and on the next connection before the resend; clients
//     that stop reading; receive maximum, maximum packet size, message and session expiry, wills with delays, retained messages with
//     expiry, no local, subscription identifiers, shared groups whose members leave with
//     messages in flight; another session expiry in DISCONNECT, errors in PUBACK and PUBREC
//   - users: each client is one, and others say its identifier
//   - an operator: empties queues, removes sessions, and declares some before their clients come
//   - limits: reject, drop-oldest, drop-newest, in messages and bytes, and others for some; QoS 0 queued; what
//     a clean session may keep in memory
//
// # What is demanded
//
//   - of clients' view: nothing missing that was acknowledged, but for what the ledger of
//     that very session accounts for; QoS 2 once; order; DUP and identifiers of resends;
//     nothing before CONNACK; no session or message that expires early or lives for ever
//   - of a recovery: the first records that were appended, all that were promised, byte
//     by byte, and no hole that is not named as damaged; a start is refused only for
//     damage, with an error of the journal; the state is that of the core that ran
//   - of the account: accepted = delivered + queued + ledger, per session and in all, after
//     every turn; "damaged" never more than could not be read
//   - in the end: everything owed arrives, queues are empty, the disk is below its bound
//
// Where the broker may have lost what it had acknowledged, because of a weaker sync
// setting or of a gap that damage made, what began before is left open (taint.go); the
// rest is demanded as ever.
//
// # What is missing
//
// Bits of the checkpoint store do not flip here: which files Pebble has at a moment
// depends on its threads, so such a run could not be repeated. What a flipped bit may come
// to there, without being called damage, is tested in package state, and happens here: the
// newest checkpoint is forgotten. Its files have room when the journal's have none. Chunks of
// long queues are at times not to be read for now, and never damaged. Clients use no topic aliases;
// those are package conn's.
//
// The package may know every part of the broker but the network: it does what
// package server does, with chance in the place of threads.
package sim
