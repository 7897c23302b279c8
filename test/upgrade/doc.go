// Package upgrade keeps a data folder of every released format and reads them with the
// present program: sessions, what waits in them, retained messages, a delivery in the
// middle of QoS 2, the ledger.
//
// Before the first release with a new format:
//
//	go test ./test/upgrade -run TestMake -make format-2
//
// makes testdata/format-2 with the present program. Its times and contents are the same
// each time; how records share batches is not. Folders that are there are never made
// again: what they prove is that an older program wrote them.
//
// It has no code but tests.
package upgrade
