// Package client is an MQTT client for 3.1, 3.1.1 and 5.0. The commands pub and
// sub, the demonstration, the load generator, the bridge and the tests of the
// broker use it. It knows the packets and the rules that a client has to follow;
// it may know nothing of the broker's inside, of its journal or of its
// configuration, so that it can talk to any broker and finds out where ours is
// not like any broker.
//
// A [Conn] is one connection, packet by packet, for tests that want to say
// exactly what is on the wire. A [Client] is a session: it connects again by
// itself, sends again what was not acknowledged and subscribes again when the
// broker lost its session.
//
// # What a Client promises
//
// A message given to [Client.Publish] at QoS 1 or 2 is kept in memory until the
// broker acknowledged it or refused it. When the connection ends before, it is
// sent again on the next one: with DUP and its packet identifier when the broker
// still has the session [MQTT-4.4.0-1], as a new message when not. Messages of
// one topic and QoS are sent in the order of the calls [MQTT-4.6.0-1]. A message
// at QoS 0 is sent at most once; one that waits for a connection is kept too.
//
// Messages received are given to the handler one by one in the order they came,
// and acknowledged after it returned, so that a process that ends in its handler
// gets the message again. At QoS 2 a message is given to the handler once,
// whatever happens to the connection in between; this memory ends with the
// process.
//
// # What runs
//
// A Client has one goroutine that connects, one that calls the handler and,
// while connected, one that reads and one that writes. [Client.Close] ends them
// all before it returns. One mutex guards the state; no callback runs under it.
// What waits is encoded into one buffer and written with one call, so a busy
// client makes few system calls and an idle one sends at once.
package client
