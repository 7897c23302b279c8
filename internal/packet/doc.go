// Package packet is the codec of MQTT 3.1, 3.1.1 and 5.0: control packets as
// Go values, and their bytes. One set of types and one codec serve all three;
// the version is an argument, and what a version cannot express is left out.
//
// Decoding checks all that the standard says of the bytes of one packet, in
// either direction: a server decodes what clients send, a client what servers
// send. It may not know connections, sessions or limits: whether a packet is
// welcome at this moment, comes from the right side (a client's PUBLISH must not
// have subscription identifiers [MQTT-3.3.4-6]) or stays within what was
// announced is for its callers, and so is the meaning of topic filters, which
// are checked here to be non-empty UTF-8 and no more. An empty client identifier
// decodes in every version.
//
// # Normalisation
//
// What decodes without an error encodes to the same bytes, but for this:
//
//   - Properties come in an order of our own. User properties and subscription
//     identifiers keep their order among themselves, and so do all properties
//     that a message takes along ([Publish.Forward]).
//   - A property that says what its absence says is left out: an empty string
//     (but for those in Forward), an available feature, a will delay or topic
//     alias maximum of 0, and in CONNECT a session expiry of 0, request problem
//     information 1 and request response information 0.
//   - Acknowledgements, DISCONNECT and AUTH come in their shortest form.
//   - Bits that MQTT 3.1 tells receivers to disregard come as 0.
//
// # Speed
//
// PUBLISH and its acknowledgements are decoded and encoded without allocation,
// by [Publish.Decode], [DecodeAck] and the Append methods; [Decode] copies.
package packet
