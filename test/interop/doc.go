// Package interop has no code of its own: its tests run the broker as a process
// and let clients that others wrote talk to it, unchanged, as their users do. They
// meet the broker by the wire alone and know nothing of its inside.
//
// What each of them needs is installed by .ci/run; a client that is not there
// skips its tests and says what to install, or fails them when the environment
// has HOLDFAST_REQUIRE_INTEROP=1.
package interop
