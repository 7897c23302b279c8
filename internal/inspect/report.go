package inspect

import "time"

// Report is what a check found, as `holdfast check --json` prints it.
type Report struct {
	Data       string     `json:"data"`
	Sound      bool       `json:"sound"` // all that was acknowledged can be read, and all hangs together
	Journal    Journal    `json:"journal"`
	Checkpoint Checkpoint `json:"checkpoint"`
	Content    *Content   `json:"content,omitempty"` // missing when the state could not be brought up
	Findings   []Finding  `json:"findings"`
	Missing    []Loss     `json:"missing"` // what sessions wait for and cannot be read
}

// Journal sums up the journal.
type Journal struct {
	Segments  int              `json:"segments"`
	Batches   int64            `json:"batches"`
	Records   int64            `json:"records"`
	Messages  int64            `json:"messages"` // of the records
	Bytes     int64            `json:"bytes"`
	TornBytes int64            `json:"torn_bytes"`
	Damaged   uint64           `json:"damaged_bytes"`
	First     uint64           `json:"first_position"`
	End       uint64           `json:"end_position"`
	LastWrite *time.Time       `json:"last_write,omitempty"`
	Kinds     map[string]int64 `json:"kinds,omitempty"` // records of each kind
}

// Checkpoint sums up the checkpoint store.
type Checkpoint struct {
	Read    bool   `json:"read"`
	Applied uint64 `json:"applied_position"` // up to which the journal is in it
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"` // of keys and values
}

// Content is what the next start would have: the broker's state.
type Content struct {
	Sessions  int               `json:"sessions"`
	Groups    int               `json:"groups"` // shared subscriptions
	Retained  int               `json:"retained"`
	Accepted  uint64            `json:"accepted"`
	Delivered uint64            `json:"delivered"`
	Queued    uint64            `json:"queued"`
	Dropped   uint64            `json:"dropped"`
	Ledger    map[string]uint64 `json:"ledger,omitempty"` // what was dropped, by reason
	Checked   uint64            `json:"checked"`          // deliveries whose message was found
}

// The kinds of Finding.
const (
	Damage    = "damage"    // bytes that should be there are missing or wrong
	Reference = "reference" // something names what does not exist
	Balance   = "balance"   // counts contradict each other
	Torn      = "torn"      // the end of an interrupted write: no damage
	Reclaimed = "reclaimed" // positions that no file holds: no damage by itself
	Leftover  = "leftover"  // a file that an interrupted compaction left: no damage
	Foreign   = "foreign"   // a file that is not ours: no damage
	Segment   = "segment"   // a file was read
)

// Finding is one thing that was found.
type Finding struct {
	Kind   string `json:"kind"`
	Path   string `json:"path,omitempty"`
	From   uint64 `json:"from,omitempty"` // positions
	To     uint64 `json:"to,omitempty"`   // exclusive
	Detail string `json:"detail"`
}

// Bad tells whether it makes the folder unsound.
func (f *Finding) Bad() bool {
	return f.Kind == Damage || f.Kind == Reference || f.Kind == Balance
}

// Loss is what one session waits for and will not get.
type Loss struct {
	Session    string `json:"session"` // client identifier, or "$share/name/filter"
	Deliveries uint64 `json:"deliveries"`
	First      uint64 `json:"first_number"` // delivery numbers
	Last       uint64 `json:"last_number"`
	Why        string `json:"why"` // of the first
}

// Bad counts the findings that make the folder unsound.
func (r *Report) Bad() (n int) {
	for i := range r.Findings {
		if r.Findings[i].Bad() {
			n++
		}
	}
	return n
}
