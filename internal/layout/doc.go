// Package layout has no code, only tests: who may import whom and why, and the
// habits of the house that a program can check. A rule that is in the way is
// changed here, with its reason, and in ARCHITECTURE.md.
package layout
