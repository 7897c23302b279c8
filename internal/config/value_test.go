package config

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "100ms": 100 * time.Millisecond, "90s": 90 * time.Second, "1h30m": 90 * time.Minute,
		"7d": 7 * day, "2w": 14 * day, "1w2d3h": 9*day + 3*time.Hour, "0d": 0, " 5s ": 5 * time.Second, "1.5h": 90 * time.Minute,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "d", "w", "-5s", "+5s", "1d-5s", "1d+5s", "-1d", "1.5d", "5 days", "2d1w", "1d1d", "never", "99999999w", "4294967295d", "1mo"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestDurationsReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "d"))
		unit := rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Second, time.Minute, time.Hour, day}).Draw(t, "unit")
		d = d / unit * unit
		got, err := ParseDuration(FormatDuration(d))
		if err != nil || got != d {
			t.Fatalf("%d written as %q, read as %d, %v", d, FormatDuration(d), got, err)
		}
	})
}

func TestSizesReadAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]Size{1, KiB, MiB, GiB}).Draw(t, "unit")
		s := Size(rapid.Int64Range(0, math.MaxInt64/int64(unit)).Draw(t, "n")) * unit
		var got Size
		if err := got.UnmarshalText([]byte(s.String())); err != nil || got != s {
			t.Fatalf("%d written as %q, read as %d, %v", s, s, got, err)
		}
	})
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "1": 1, "100B": 100, "64 KiB": 64 * KiB, "16MiB": 16 * MiB, "10GiB": 10 * GiB} {
		var got Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "B", "MiB", "-1B", "1.5MiB", "1MB", "1M", "1TiB", "9223372036854775807KiB", "99999999999999999999", "1iB"} {
		got := Size(7)
		if err := got.UnmarshalText([]byte(text)); err == nil || got != 7 {
			t.Errorf("%q was read as %v, error %v", text, got, err)
		}
	}
}

func TestExpirySeconds(t *testing.T) {
	for e, want := range map[Expiry]uint32{0: 0, Expiry(time.Hour): 3600, Never: math.MaxUint32, longest: math.MaxUint32 - 1} {
		if got := e.Seconds(); got != want {
			t.Errorf("%v: %d, want %d", e, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	candidates := []string{"listen", "data", "store", "sync", "level"}
	for word, want := range map[string]string{
		"lisen": "listen", "Listen": "listen", "lsiten": "listen", "dta": "data", "sycn": "sync", "banana": "", "": "", "x": "", "lvl": "",
	} {
		if got := nearest(word, candidates); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
