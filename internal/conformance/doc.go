// Package conformance is a suite that tests any MQTT broker against the numbered
// statements of MQTT 3.1.1 and 5.0, and against what MQTT 3.1 had differently. It
// writes bytes to a connection and looks at the bytes that come back; `holdfast
// conformance` runs it.
//
// It may not know our broker nor our codec: a mistake that both share would hide
// itself. What it needs of the wire it builds and reads by itself, in wire.go and
// decode.go, and what it believes about a broker it has from the standard.
//
// # How it is made
//
// A [Statement] is a sentence of a standard. A check provokes one thing and looks
// at what follows; it names the statements that it covers, in each version that
// it runs in. A watch covers what can be broken by any packet, such as reserved
// flags: it looks at all that arrives, in all checks. A statement that no check
// can reach has a reason instead (reasons.go).
//
// A check works with client identifiers and topics of its own, made by chance,
// so checks run side by side, on a broker that others use, and remove the sessions
// and retained messages that they made. That a message does not arrive is seen by
// another that was sent after it and comes first, not by waiting.
package conformance
