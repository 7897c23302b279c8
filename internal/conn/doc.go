// Package conn is one client connection's life: it reads and decodes what the
// client sends, hands it to the core in batches, encodes and writes what the
// core answers, and watches the limits that belong to the connection itself
// (connect timeout, keep alive, packet size, topic aliases, receive maximum,
// output that the client does not take).
//
// It knows the wire (package packet), the core's inputs and effects (package
// broker) and how a stored message is read (package record). It may not know
// sessions, subscriptions or the journal's files: what a packet means is the
// core's, and when an effect may leave is its driver's.
//
// # Goroutines
//
// On Linux a connection that is a plain socket is read by one of the [Pollers],
// each a goroutine for very many connections; another has one goroutine for
// reading. Either waits without a buffer where the operating system tells us when
// there are bytes, and with a small one where something else carries the bytes (TLS,
// WebSocket). For writing there is one only while there is something to write,
// and one for several connections when those have little ([Writers]). So a silent
// connection costs a few hundred bytes, and its memory in the system.
//
// # Batches
//
// All packets of one read go to the core as one [Batch]: no channel operation,
// allocation or system call is spent on a single message. At most [MaxBatches]
// of a connection wait for the core; then its reader waits, and TCP tells the
// client.
package conn
