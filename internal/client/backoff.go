package client

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"time"
)

// backoff gives the pauses between attempts: each twice the one before up to a
// bound, each shortened at random by up to a half, so that the clients of a
// broker that restarts do not come back all at once.
type backoff struct {
	min, max time.Duration
	next     time.Duration
}

func (b *backoff) pause() time.Duration {
	d := max(b.next, b.min)
	b.next = min(2*d, b.max)
	return d - mathrand.N(d/2+1)
}

func (b *backoff) reset() { b.next = 0 }

// randomID is a client identifier that every version allows: 3.1 has at most 23
// characters.
func randomID() string {
	var b [6]byte
	rand.Read(b[:])
	return fmt.Sprintf("holdfast-%x", b)
}
