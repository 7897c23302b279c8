// Package bridge is store and forward to another broker. A [Bridge] is a client of two
// brokers at once, with a session in each, and passes on to one what the other delivers.
// It knows the packets, the rules that say which topics pass, and how to reach both ends;
// it may know nothing of the inside of a broker, ours included, so that it joins any two.
//
// # Where messages wait
//
// Not here. While one end cannot be reached the bridge is connected to neither, and is to
// the other what any absent consumer is: a session whose queue grows, on the disk of that
// broker, with its limits and its account. So a bridge needs no store of its own, and what
// waits for it is looked at, peeked into and purged like what waits for anybody.
//
// # Why it forgets nothing and repeats nothing
//
// A message is acknowledged to the broker that delivered it when the other one has
// acknowledged it, and not before. Between the two the bridge keeps nothing that has to
// outlive it, because it uses the same packet identifier on both sides: the exchange of
// QoS 2 that the source has with the bridge and the one that the bridge has with the sink
// are then one exchange, and each of its steps is passed through.
//
//	source            bridge             sink
//	   │ PUBLISH(7) ───► │ PUBLISH(7) ───► │  stores message and identifier
//	   │ ◄─── PUBREC(7)  │ ◄─── PUBREC(7)  │
//	   │  stores that    │                 │
//	   │ PUBREL(7)  ───► │ PUBREL(7)  ───► │  forgets the identifier
//	   │ ◄─── PUBCOMP(7) │ ◄─── PUBCOMP(7) │
//
// Whatever ends at whichever step, the source goes on with the identifier that it had
// [MQTT-4.4.0-1] and the sink knows it or not [MQTT-4.3.3-10]: exactly once, across the
// end of the bridge, of a connection or of a machine, as far as both brokers keep their
// sessions. The identifiers of what a client sends and of what it is sent are apart, so
// both directions share the two sessions.
//
// What this rests on is that a sink has no identifier of which the source knows nothing:
// the sink would take a new message for the old one. That can be only when the source has
// lost its session and the sink has not, and then the bridge lets go of all identifiers
// in the sink before anything passes (see match).
//
// # What can be lost, and who says so
//
// QoS 0 is sent and not stored. A message that the sink says it will never take is
// acknowledged to the source with the sink's reason, for its account. One that it does not
// take now stays with the source and is tried again.
package bridge
