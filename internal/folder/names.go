package folder

import "path/filepath"

// What is inside a data folder.
const (
	Journal     = "journal"     // folder of the segments
	State       = "state"       // folder of the checkpoint store
	Snapshots   = "snapshots"   // folders of what a running broker holds for readers
	Unfinished  = "importing"   // position from which on the journal does not count, while an import goes on
	ReserveFile = "reserve"     // space for a start on a full disk
	LockFile    = "lock"        // the number of the process that has the folder
	SpoolFile   = "spool.json"  // only in the folder of a spool: as whom it passes messages on
	Manifest    = "backup.json" // only in a backup: what it is, and all its files
)

// JournalDir is the folder of the journal in a data folder.
func JournalDir(data string) string { return filepath.Join(data, Journal) }

// StateDir is the folder of the checkpoint store in a data folder.
func StateDir(data string) string { return filepath.Join(data, State) }
