package server

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// computer is a machine with a broker on it, whose wall clock is not to be trusted.
// Time in the bubble is what really passes while it is awake.
type computer struct {
	t      *testing.T
	fs     *vfs.MemFS
	broker *piped
	ahead  atomic.Int64 // of its wall clock, ns
}

func newComputer(t *testing.T) *computer {
	c := &computer{t: t, fs: vfs.NewCrashableMem()}
	c.set(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	return c
}

func (c *computer) wall() time.Time { return time.Now().Round(0).Add(time.Duration(c.ahead.Load())) }

// set sets the wall clock.
func (c *computer) set(at time.Time) { c.ahead.Store(int64(time.Until(at))) }

// jump moves the wall clock.
func (c *computer) jump(by time.Duration) { c.ahead.Add(int64(by)) }

func (c *computer) on() { c.broker = overPipes(c.t, Options{DataDir: "data", FS: c.fs, Wall: c.wall}) }

// off ends the broker in order; crash does not.
func (c *computer) off() { end(c.t, c.broker.Server) }

func (c *computer) crash() {
	left := c.fs.CrashClone(vfs.CrashCloneCfg{})
	c.off()
	c.fs = left
}

// No session and no message expires early, whatever the wall clock does, and none
// lives for ever. A session lives an hour without its client; a message that waits in it
// half an hour.
func TestClocks(t *testing.T) {
	const minute, hour, day, year = time.Minute, time.Hour, 24 * time.Hour, 365 * 24 * time.Hour
	in1970 := time.Date(1970, 1, 1, 0, 0, 10, 0, time.UTC)
	for _, tt := range []struct {
		name    string
		happens func(c *computer) // from the moment that the client leaves
		session bool              // it is there afterwards
		message bool
	}{
		{"nothing, for 25 minutes", func(c *computer) { time.Sleep(25 * minute) }, true, true},
		{"nothing, for 35 minutes", func(c *computer) { time.Sleep(35 * minute) }, true, false},
		{"nothing, for 65 minutes", func(c *computer) { time.Sleep(65 * minute) }, false, false},
		{"down for 25 minutes", func(c *computer) { c.off(); time.Sleep(25 * minute); c.on() }, true, true},
		{"down for 35 minutes", func(c *computer) { c.off(); time.Sleep(35 * minute); c.on() }, true, false},
		{"down for 65 minutes", func(c *computer) { c.off(); time.Sleep(65 * minute); c.on() }, false, false},
		{"down after a crash for 65 minutes", func(c *computer) { c.crash(); time.Sleep(65 * minute); c.on() }, false, false},
		{"a restart does not renew what is left", func(c *computer) {
			for range 7 {
				time.Sleep(10 * minute)
				c.crash()
				c.on()
			}
		}, false, false},

		{"the wall clock jumps a year forward", func(c *computer) { c.jump(year); time.Sleep(25 * minute) }, true, true},
		{"it jumps a year forward, and then there is a restart", func(c *computer) {
			time.Sleep(5 * minute)
			c.jump(year)
			time.Sleep(5 * minute)
			c.off()
			c.on()
		}, true, true},
		{"it jumps a year forward, and then there is a crash", func(c *computer) {
			time.Sleep(5 * minute)
			c.jump(year)
			time.Sleep(5 * minute)
			c.crash()
			c.on()
		}, true, true},
		{"it jumps a year back", func(c *computer) { c.jump(-year); time.Sleep(25 * minute) }, true, true},
		{"it jumps a year back, and time goes on", func(c *computer) { c.jump(-year); time.Sleep(65 * minute) }, false, false},
		{"it jumps a year back and forward again, with restarts", func(c *computer) {
			c.jump(-year)
			time.Sleep(5 * minute)
			c.off()
			c.on()
			c.jump(year)
			time.Sleep(5 * minute)
			c.off()
			c.on()
		}, true, true},
		{"a restart with a wall clock of yesterday", func(c *computer) { c.off(); c.jump(-day); c.on(); time.Sleep(25 * minute) }, true, true},
		{"a restart with a wall clock of yesterday, and time goes on", func(c *computer) {
			c.off()
			c.jump(-day)
			c.on()
			time.Sleep(65 * minute)
		}, false, false},

		{"boot in 1970", func(c *computer) { c.crash(); c.set(in1970); c.on(); time.Sleep(25 * minute) }, true, true},
		{"boot in 1970, then it learns the date", func(c *computer) {
			c.crash()
			c.set(in1970)
			c.on()
			time.Sleep(5 * minute)
			c.set(time.Date(2030, 1, 1, 1, 0, 0, 0, time.UTC))
			time.Sleep(5 * minute)
		}, true, true},
		{"boot in 1970 again and again, idle, with power cuts", func(c *computer) {
			for range 5 {
				c.crash()
				c.set(in1970)
				c.on()
				time.Sleep(25 * minute) // of which ten may not have been written
			}
		}, false, false},

		// The monotonic clock stands still while a machine is suspended, and ours with it:
		// what slept is not counted. That is late and never early.
		{"suspended for a day", func(c *computer) { time.Sleep(minute); c.jump(day); time.Sleep(24 * minute) }, true, true},
		{"suspended for a day, then a restart", func(c *computer) {
			c.jump(day)
			time.Sleep(10 * minute)
			c.off()
			c.on()
		}, true, true},
		{"suspended for a day, and time goes on", func(c *computer) { c.jump(day); time.Sleep(65 * minute) }, false, false},
		{"down for ten years", func(c *computer) { c.off(); c.jump(10 * year); c.on() }, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newComputer(t)
				c.on()
				connect := &packet.Connect{Version: packet.V5, ClientID: "c", SessionExpiry: 3600}
				client := c.broker.dial(connect, false)
				send(t, client, subscribe(1, "t", 1))
				want(t, client, "SUBACK 1 [1]")
				leave(t, client)
				p := c.broker.dial(clean(packet.V5, "p"), false)
				m := publish("t", 1, 1, "x")
				m.HasExpiry, m.Expiry = true, 1800
				send(t, p, m)
				want(t, p, "PUBACK 1 0x00")
				leave(t, p)
				p.Close()

				tt.happens(c)
				client = c.broker.dial(connect, tt.session)
				if tt.session && tt.message {
					want(t, client, "publish t q1 id1 x")
				}
				send(t, client, &packet.Pingreq{})
				want(t, client, "PINGRESP")
				client.Close()
				c.off()
			})
		})
	}
}
