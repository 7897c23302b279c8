package admin

import (
	"context"
	"time"
)

// Snapshot is what a broker holds for a reader: files of one moment, which do
// not change below the sizes given while the hold lasts.
type Snapshot struct {
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Data     string    `json:"data"` // absolute path of the data folder
	Taken    time.Time `json:"taken"`
	Position uint64    `json:"position"` // the journal is held up to here; all that was acknowledged before is below
	Journal  string    `json:"journal"`  // folder of the segments
	State    string    `json:"state"`    // folder of a copy of the checkpoint store, removed at the end of the hold
	Segments []File    `json:"segments"`
}

// File is a file in Snapshot.Journal.
type File struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"` // so many from the start belong to the snapshot
}

// Broker is what the control socket is a door to.
type Broker interface {
	// Hold takes a snapshot and holds it until release is called.
	Hold(ctx context.Context) (s Snapshot, release func(), err error)
	// Status tells how it is; nil when the broker ends.
	Status() *Status
	Sessions
}
