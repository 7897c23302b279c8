package bench

import (
	"testing"
	"time"
)

// A broker is at rest when neither its memory nor its CPU time has changed for a while.
func TestStillness(t *testing.T) {
	const during = 5 * time.Second
	level := func(at time.Duration) look { return look{rss: 1000 << 20} }
	for _, tt := range []struct {
		name string
		at   func(time.Duration) look // what is seen, so long after the load
		want time.Duration            // at rest, 0: not within a minute
	}{
		{"nothing changes", level, 5 * time.Second},
		{"it falls a little at a time", func(at time.Duration) look {
			return look{rss: 1000<<20 - int64(at.Seconds())<<20}
		}, 5 * time.Second},
		{"it falls fast, for ten seconds", func(at time.Duration) look {
			return look{rss: 1000<<20 - int64(min(at.Seconds(), 10))*50<<20}
		}, 15 * time.Second},
		{"it falls once, before it would count as still", func(at time.Duration) look {
			if at < 4*time.Second {
				return look{rss: 1000 << 20}
			}
			return look{rss: 700 << 20}
		}, 9 * time.Second},
		{"it grows, and falls again to where it was", func(at time.Duration) look {
			if at > time.Second && at < 3*time.Second {
				return look{rss: 1200 << 20}
			}
			return look{rss: 1000 << 20}
		}, 8 * time.Second},
		{"it works for three seconds", func(at time.Duration) look {
			return look{rss: 1000 << 20, cpu: min(at.Seconds(), 3)}
		}, 8 * time.Second}, // but for what is less than 2 %
		{"it works a little for ever", func(at time.Duration) look {
			return look{rss: 1000 << 20, cpu: at.Seconds() / 100}
		}, 5 * time.Second},
		{"it works for ever", func(at time.Duration) look {
			return look{rss: 1000 << 20, cpu: at.Seconds() / 10}
		}, 0},
		{"nothing is known", func(time.Duration) look { return look{} }, 5 * time.Second},
	} {
		s := stillness{during: during}
		begin := time.Unix(0, 0)
		var got time.Duration
		for at := time.Duration(0); at <= time.Minute && got == 0; at += 250 * time.Millisecond {
			l := tt.at(at)
			l.at = begin.Add(at)
			if s.rests(l) {
				got = at
			}
		}
		if got < tt.want-250*time.Millisecond || got > tt.want+250*time.Millisecond {
			t.Errorf("%s: at rest after %v, want %v", tt.name, got, tt.want)
		}
	}
}
