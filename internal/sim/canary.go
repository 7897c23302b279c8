package sim

import "fmt"

// Canary is a mistake made on purpose. The simulation is only worth its time as
// long as it finds each of them.
type Canary int

// The canaries.
const (
	CanaryNone          Canary = iota
	CanaryEarlyAck             // acknowledgements leave before what they acknowledge is durable
	CanaryLostRelease          // the records of PUBREC and PUBREL are lost
	CanaryDirectorySync        // the journal's directory is never synced
	CanaryLyingDisk            // nothing is ever synced
	CanaryStateAhead           // a checkpoint is written before the journal that it covers
	CanaryEarlyTrim            // segments are removed when a checkpoint begins, not when it is written
	CanaryVolatileID           // packet identifiers come from a counter that a restart changes
	CanaryForgottenDup         // resends lack DUP
	CanaryOvertaking           // effects that wait for nothing overtake those that wait
	CanaryWallClock            // the broker clock believes a wall clock that runs ahead
	CanaryForgetfulMark        // some sessions are forgotten when segments are rewritten
	CanarySkippedCRC           // checksums are not looked at
	CanaryUnaccounted          // what cannot be read is skipped and goes to no ledger
	CanaryForgottenTail        // no end mark tells of the segment that follows
	canaries
)

// Canaries returns all mistakes.
func Canaries() (all []Canary) {
	for c := CanaryNone + 1; c < canaries; c++ {
		all = append(all, c)
	}
	return all
}

// String names the mistake.
func (c Canary) String() string {
	names := [...]string{"none", "early-ack", "lost-release", "no-directory-sync", "lying-disk", "state-ahead", "early-trim", "volatile-id",
		"forgotten-dup", "overtaking", "wall-clock", "forgetful-mark", "skipped-crc", "unaccounted", "forgotten-tail"}
	if c < 0 || int(c) >= len(names) {
		return fmt.Sprintf("canary %d", int(c))
	}
	return names[c]
}
