// Package auth knows users: who there is and how each proves it (a file of hashed
// passwords), and what each may publish and subscribe to (an access control list). Both files
// have Mosquitto's form, so that people can bring what they have.
//
// It answers questions about names, passwords and topics. It may not know connections,
// packets or sessions: who asks, and what follows from an answer, is for others. What it
// reads is not changed afterwards; reading a changed file gives another one.
package auth
