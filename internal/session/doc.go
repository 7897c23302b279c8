// Package session holds what one session waits for: its queue of deliveries,
// their numbers, and how far each of them got in the QoS 1 or QoS 2 exchange.
//
// It is pure: no clock, no files, no goroutines, no locks. It knows positions
// and extents of the journal as opaque values and never computes with them
// beyond storing differences. It does not know topics, subscriptions or packets.
//
// # Numbers
//
// Every delivery of a session has a number, given when it is queued: 1, 2, 3 and
// so on, without gaps. It is durable with the queue, so it is the same after a
// restart, and the packet identifier is a function of it ([PacketID]). That is
// why a resend bears the identifier that it had [MQTT-4.4.0-1] without a write
// for the identifier.
//
// # The queue
//
// [Queue] is the hardest type here. Its numbers lie on one line:
//
//	1 ... head ............ sent ............ next
//	done | in the exchange | waiting         | not there yet
//
// Below head every delivery is finished. From head to sent they were given to
// the connection of now and each has a [State]; from sent to next they wait.
// Nothing is ever inserted or reordered [MQTT-4.6.0-5] [MQTT-4.6.0-6]; the head advances
// over finished ones, and a delivery is outstanding until then [MQTT-4.3.2-3]
// [MQTT-4.3.3-3].
//
// Entries are kept in chunks of up to [ChunkEntries], each entry as the distance
// of its position from the one before: about two bytes. A chunk never spans two
// extents, so that letting a whole queue go needs no look at its entries, only at
// its chunks. Chunks in the middle of a long queue can be dropped from memory
// once a checkpoint holds them and come back through a [Loader].
//
// A queue whose session is away mostly needs none of this: it is empty, or a few
// entries wait that very many other queues have as well. Such a queue is at rest, 48
// bytes and a part of a span that queues share; whatever needs more makes it full.
//
// When an operator's limit drops the oldest waiting deliveries while others are
// in the exchange, the dropped ones are a hole in the line. A hole begins where
// nothing was sent; a send that comes to it turns it into finished states first.
package session
