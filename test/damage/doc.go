// Package damage breaks a data folder in every way that has a name, and looks what a
// start makes of it: with sessions, a group, retained messages and messages that wait,
// known to the checkpoint and not. The table that it goes through is the one in
// docs/failure-model.md, which it writes too.
//
// It has no code but tests.
package damage
