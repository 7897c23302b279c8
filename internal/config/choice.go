package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Store says where messages and sessions are kept.
type Store string

// The stores.
const (
	StoreDisk   Store = "disk"   // in the data folder, durable
	StoreMemory Store = "memory" // nowhere but in memory: all is lost when the broker ends
)

// UnmarshalText reads one of the stores.
func (s *Store) UnmarshalText(text []byte) error { return choose(s, text, StoreDisk, StoreMemory) }

// Overflow says what happens to a message for a session that is at its limit.
type Overflow string

// The ways to deal with a full queue.
const (
	OverflowReject     Overflow = "reject"      // the publisher is refused, for all recipients
	OverflowDropOldest Overflow = "drop-oldest" // the longest waiting message makes room
	OverflowDropNewest Overflow = "drop-newest" // the session does not get the message
)

// UnmarshalText reads one of the ways.
func (o *Overflow) UnmarshalText(text []byte) error {
	return choose(o, text, OverflowReject, OverflowDropOldest, OverflowDropNewest)
}

// Level is the least that is logged.
type Level string

// The levels.
const (
	LevelDebug Level = "debug"
	LevelInfo  Level = "info"
	LevelWarn  Level = "warn"
	LevelError Level = "error"
)

// UnmarshalText reads one of the levels.
func (l *Level) UnmarshalText(text []byte) error {
	return choose(l, text, LevelDebug, LevelInfo, LevelWarn, LevelError)
}

// Format is how log lines are written.
type Format string

// The formats.
const (
	FormatText Format = "text"
	FormatJSON Format = "json"
)

// UnmarshalText reads one of the formats.
func (f *Format) UnmarshalText(text []byte) error { return choose(f, text, FormatText, FormatJSON) }

// TLSVersion is the oldest version of TLS that is spoken.
type TLSVersion string

// The versions.
const (
	TLS12 TLSVersion = "1.2"
	TLS13 TLSVersion = "1.3"
)

// UnmarshalText reads one of the versions.
func (v *TLSVersion) UnmarshalText(text []byte) error { return choose(v, text, TLS12, TLS13) }

// NameIn says what of a client's certificate is the name of its user.
type NameIn string

// The places of a name.
const (
	NameNowhere      NameIn = "none"
	NameInCommonName NameIn = "common-name"
	NameInSubject    NameIn = "subject"
)

// UnmarshalText takes one of the words.
func (n *NameIn) UnmarshalText(text []byte) error {
	return choose(n, text, NameNowhere, NameInCommonName, NameInSubject)
}

// Owner says who gets a session that is there.
type Owner string

// The answers.
const (
	OwnerOnly Owner = "owner"  // the user who began it
	OwnerAny  Owner = "anyone" // who says its client identifier
)

// UnmarshalText takes one of the words.
func (o *Owner) UnmarshalText(text []byte) error { return choose(o, text, OwnerOnly, OwnerAny) }

// choose sets dst to the one of all that text names.
func choose[T ~string](dst *T, text []byte, all ...T) error {
	t := T(strings.TrimSpace(string(text)))
	if slices.Contains(all, t) {
		*dst = t
		return nil
	}
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = string(a)
	}
	list := "\"" + strings.Join(names, "\", \"") + "\""
	if near := nearest(string(t), names); near != "" {
		return fmt.Errorf("%q is not possible; did you mean %q? (one of %s)", string(t), near, list)
	}
	return fmt.Errorf("%q is not possible; write one of %s", string(t), list)
}

// SyncMode says when what was written is made durable.
type SyncMode uint8

// The modes, by what they risk.
const (
	SyncAlways   SyncMode = iota // nothing: acknowledged is durable
	SyncInterval                 // a power cut loses what was acknowledged in the last interval
	SyncNever                    // a power cut loses what the system had not written yet
)

// Sync is the key sync.
type Sync struct {
	Mode     SyncMode
	Interval time.Duration // with SyncInterval, above 0
}

// UnmarshalText reads "always", "never" or an interval such as "100ms".
func (s *Sync) UnmarshalText(text []byte) error {
	t := strings.TrimSpace(string(text))
	switch t {
	case "always":
		*s = Sync{Mode: SyncAlways}
		return nil
	case "never":
		*s = Sync{Mode: SyncNever}
		return nil
	}
	if near := nearest(t, []string{"always", "never"}); near != "" {
		return fmt.Errorf("%s is not possible; did you mean %q? (\"always\", \"never\" or an interval such as \"100ms\")", strconv.Quote(t), near)
	}
	d, err := ParseDuration(t)
	if err != nil {
		return fmt.Errorf("%w; \"always\" and \"never\" are possible too", err)
	}
	if d < time.Millisecond {
		return fmt.Errorf("%q is too short an interval; write \"always\", or at least \"1ms\"", t)
	}
	*s = Sync{Mode: SyncInterval, Interval: d}
	return nil
}

// String writes the setting as it is read.
func (s Sync) String() string {
	switch s.Mode {
	case SyncInterval:
		return FormatDuration(s.Interval)
	case SyncNever:
		return "never"
	default:
		return "always"
	}
}
