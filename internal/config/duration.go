package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// ParseDuration reads what time.ParseDuration reads, and days and weeks:
// "1w2d", "36h", "7d", "100ms". Negative durations are errors. A bare number
// is an error too, except 0, because nobody can know its unit.
func ParseDuration(text string) (time.Duration, error) {
	t := strings.TrimSpace(text)
	bad := func() (time.Duration, error) {
		if n, err := strconv.ParseUint(t, 10, 63); err == nil {
			return 0, fmt.Errorf("%q has no unit; write \"%ds\" for seconds, or ms, m, h, d, w", t, n)
		}
		return 0, fmt.Errorf("%q is no duration; write a number with a unit (ms, s, m, h, d, w), such as \"7d\" or \"1h30m\"", t)
	}
	if t == "0" {
		return 0, nil
	}
	// Weeks and days come first and are whole; the rest is Go's.
	rest, total := t, time.Duration(0)
	for _, unit := range []struct {
		name   byte
		length time.Duration
	}{{'w', week}, {'d', day}} {
		i := strings.IndexByte(rest, unit.name)
		if i < 0 {
			continue
		}
		n, err := strconv.ParseUint(rest[:i], 10, 32)
		if err != nil {
			return bad()
		}
		if n > uint64((math.MaxInt64-int64(total))/int64(unit.length)) {
			return 0, fmt.Errorf("%q is too long; durations go up to 292 years", t)
		}
		total += time.Duration(n) * unit.length
		rest = rest[i+1:]
	}
	if rest == "" && total > 0 || rest == "" && len(t) > 1 {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || rest[0] == '+' {
		return bad()
	}
	if d > math.MaxInt64-total {
		return 0, fmt.Errorf("%q is too long; durations go up to 292 years", t)
	}
	return total + d, nil
}

// FormatDuration writes a duration as ParseDuration reads it, in days when it
// is a whole number of them, and without zeros that say nothing.
func FormatDuration(d time.Duration) string {
	if d > 0 && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// Expiry is how long a session is kept after its connection ended.
type Expiry time.Duration

// Never is the Expiry of a session that is kept until somebody ends it.
const Never Expiry = math.MaxInt64

// longest is what MQTT 5 can say in seconds; one second more means never.
const longest = Expiry((math.MaxUint32 - 1) * time.Second)

// UnmarshalText reads "never" or a duration of whole seconds.
func (e *Expiry) UnmarshalText(text []byte) error {
	if strings.TrimSpace(string(text)) == "never" {
		*e = Never
		return nil
	}
	d, err := ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%w; \"never\" is possible too", err)
	}
	if Expiry(d) > longest {
		return fmt.Errorf("%q is longer than the 136 years that MQTT can say; write \"never\"", text)
	}
	if d%time.Second != 0 {
		return fmt.Errorf("%q has a part of a second, and sessions expire by whole seconds", text)
	}
	*e = Expiry(d)
	return nil
}

// String writes the expiry as it is read.
func (e Expiry) String() string {
	if e == Never {
		return "never"
	}
	return FormatDuration(time.Duration(e))
}

// Seconds is the expiry as MQTT 5 writes it: 0xFFFFFFFF is never.
func (e Expiry) Seconds() uint32 {
	if e > longest {
		return math.MaxUint32
	}
	return uint32(time.Duration(e) / time.Second)
}
