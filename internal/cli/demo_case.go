package cli

import (
	"fmt"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// demoCase is one consumer's kind of session: what it was promised and why.
type demoCase struct {
	key     string // in JSON and in client identifiers
	name    string // in the table
	qos     byte
	version packet.Version
	clean   bool          // clean session
	expiry  time.Duration // of the session, MQTT 5
	kept    bool          // what it misses is promised to it
	present bool          // it finds its session when it comes back

	session string // what kind of session, for JSON
	intro   string // what it is, before the story
	why     string // what happened and why, after it
}

// once says whether nothing may come twice. At QoS 0 that is because nothing is
// sent again.
func (c *demoCase) once() bool { return c.qos != 1 }

// topic is what the case listens to. The producer publishes each value at every
// QoS, on a topic of its own for each.
func (c *demoCase) topic() string { return demoTopic(c.qos) }

func demoTopic(qos byte) string { return fmt.Sprintf("demo/count/qos%d", qos) }

// demoCases are the consumers of the story.
func demoCases(p demoPlan) []demoCase {
	return []demoCase{
		{
			key: "qos1", name: "QoS 1", qos: 1, version: packet.V5, expiry: time.Hour, kept: true, present: true,
			session: "persistent",
			intro:   "persistent session: all values, at least once",
			why:     "each value was on disk before it was acknowledged",
		},
		{
			key: "qos2", name: "QoS 2", qos: 2, version: packet.V5, expiry: time.Hour, kept: true, present: true,
			session: "persistent",
			intro:   "persistent session: all values, exactly once",
			why:     "the state of each exchange is on disk too: no duplicates",
		},
		{
			key: "qos0", name: "QoS 0", qos: 0, version: packet.V5, expiry: time.Hour, present: true,
			session: "persistent",
			intro:   "persistent session, but QoS 0 is not stored",
			why:     "the session was kept, but QoS 0 is not stored for it",
		},
		{
			key: "clean", name: "clean session", qos: 1, version: packet.V311, clean: true,
			session: "clean",
			intro:   "QoS 1, MQTT 3.1.1: ends with its connection",
			why:     "a clean session ends with its connection",
		},
		{
			key: "expired", name: "expired session", qos: 1, version: packet.V5, expiry: p.expiry,
			session: "expiring",
			intro:   fmt.Sprintf("QoS 1: kept for %.0f s, and it is away for longer", p.expiry.Seconds()),
			why:     fmt.Sprintf("its session was to be kept for %.0f s, which passed", p.expiry.Seconds()),
		},
	}
}
