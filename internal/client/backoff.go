package client

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"time"
)

// Backoff gives the pauses between attempts: each twice the one before up to a
// bound, each shortened at random by up to a half, so that the clients of a
// broker that restarts do not come back all at once.
type Backoff struct {
	Min, Max time.Duration
	next     time.Duration
}

// Pause is how long to wait before the next attempt.
func (b *Backoff) Pause() time.Duration {
	d := max(b.next, b.Min)
	b.next = min(2*d, b.Max)
	return d - mathrand.N(d/2+1)
}

// Reset has the pauses begin small again.
func (b *Backoff) Reset() { b.next = 0 }

// randomID is a client identifier that every version allows: 3.1 has at most 23
// characters.
func randomID() string {
	var b [6]byte
	rand.Read(b[:])
	return fmt.Sprintf("holdfast-%x", b)
}
