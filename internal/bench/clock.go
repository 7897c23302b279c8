package bench

import "time"

// epoch is where the times in payloads count from. They are read by the process
// that wrote them.
var epoch = time.Now()

// now is the time since epoch in nanoseconds, monotonic.
func now() int64 { return int64(time.Since(epoch)) }

// seconds is the time from one now to another.
func seconds(from, to int64) float64 { return float64(to-from) / 1e9 }
