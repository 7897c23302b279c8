// Package status asks real broker processes how they are, as an operator does, also one
// whose ledger was spoiled behind its back.
//
// It has no code but tests.
package status
