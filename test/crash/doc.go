// Package crash has no code of its own: its tests kill the broker, a real process
// on a real disk, at random moments while many clients publish, receive, come and
// go, and then compare all that was acknowledged with all that was received. They
// meet the broker by the wire alone and know nothing of its inside.
//
// The flags -rounds, -seed and -keep say how long, which choices, and whether the
// data folder is kept. A seed repeats the choices of a run, not its timing.
package crash
