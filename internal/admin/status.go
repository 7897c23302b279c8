package admin

import "time"

// Status is what a running broker says of itself, of one moment. Its JSON form is
// described in docs/operations/status.md.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Data    string    `json:"data"`    // absolute path of the data folder
	Started time.Time `json:"started"` // when it was ready
	Taken   time.Time `json:"taken"`

	Sessions  int   `json:"sessions"`  // that outlive their connection
	Connected int   `json:"connected"` // sessions with a connection, of both kinds
	Groups    int   `json:"groups"`    // shared subscriptions
	Retained  int   `json:"retained"`  // retained messages
	Bytes     int64 `json:"bytes"`     // of journal and checkpoints
	DiskFull  bool  `json:"disk_full"` // what would have to be stored is refused

	Ledger  Ledger  `json:"ledger"`
	Traffic Traffic `json:"traffic"`
	Checks  Checks  `json:"checks"`

	Bridges []Bridge `json:"bridges,omitempty"`
}

// Bridge is a bridge to another broker.
type Bridge struct {
	Name      string    `json:"name"`
	Remote    string    `json:"remote"`
	Session   string    `json:"session"` // here
	Connected bool      `json:"connected"`
	Since     time.Time `json:"since"`             // of being connected, or of not being so
	Problem   string    `json:"problem,omitempty"` // why it is not connected, or what is refused
	Waiting   int       `json:"waiting"`           // messages in its session, those under way included
	Out       Passed    `json:"out"`               // to the other broker
	In        Passed    `json:"in"`                // from it
}

// Passed is what went through a bridge in one direction, since the start of the broker.
type Passed struct {
	Sent     uint64 `json:"sent"`     // those sent again included
	Acked    uint64 `json:"acked"`    // of those at QoS 1 and 2: acknowledged
	Refused  uint64 `json:"refused"`  // times that a message was not taken and stayed where it was
	GivenUp  uint64 `json:"given_up"` // messages that will never be taken
	Unwanted uint64 `json:"unwanted"` // messages that no topic of the configuration matches
}

// Ledger is the account of all sessions that outlive their connection, also of those that
// have ended, since the data folder was made. It balances when Accepted is the sum of
// Delivered, Waiting and all of Dropped.
type Ledger struct {
	Accepted  uint64 `json:"accepted"` // deliveries that were due to a session
	Delivered uint64 `json:"delivered"`
	Waiting   uint64 `json:"waiting"`
	Dropped   []Drop `json:"dropped"`
	Gaps      uint64 `json:"gaps"`      // ranges of the journal that were lost to damage before anybody knew what is in them
	GapBytes  uint64 `json:"gap_bytes"` // what was in them is in no other number
}

// Drop is how many deliveries were not made, for one reason.
type Drop struct {
	Reason string `json:"reason"` // a word that does not change
	Text   string `json:"text"`   // for people
	Count  uint64 `json:"count"`
}

// DroppedInAll sums what was dropped.
func (l *Ledger) DroppedInAll() (sum uint64) {
	for _, d := range l.Dropped {
		sum += d.Count
	}
	return sum
}

// Traffic is counted since the start of the broker.
type Traffic struct {
	Published uint64 `json:"published"`  // messages from clients, wills not counted
	Refused   uint64 `json:"refused"`    // for a limit or a full disk
	Forbidden uint64 `json:"forbidden"`  // to topics that their clients are not allowed to publish to
	NotLetIn  uint64 `json:"not_let_in"` // clients whose CONNECT was refused for who they are
	QoS0Lost  uint64 `json:"qos0_lost"`  // QoS 0 messages not sent to a client that reads too slowly
}

// Checks says what the broker found as it looked at the accounts, again and again, since its
// start: of all sessions, of groups, and of the whole.
type Checks struct {
	Rounds     uint64      `json:"rounds"`     // times that all accounts were looked at
	Accounts   int         `json:"accounts"`   // in the last round
	Last       *time.Time  `json:"last"`       // end of the last round, null: there was none yet
	Took       float64     `json:"took"`       // seconds from its begin to its end
	Imbalances uint64      `json:"imbalances"` // accounts that did not balance, each once
	Unbalanced int         `json:"unbalanced"` // that do not now
	Which      []Imbalance `json:"which"`      // the first of them
}

// Imbalance is an account that does not balance.
type Imbalance struct {
	Session string `json:"session"` // client identifier or "$share/name/filter"; "": all sessions together
	What    string `json:"what"`
}

// Balanced tells whether all accounts do, as far as is known.
func (s *Status) Balanced() bool {
	l := &s.Ledger
	return s.Checks.Unbalanced == 0 && l.Accepted == l.Delivered+l.Waiting+l.DroppedInAll()
}
