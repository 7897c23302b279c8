package broker

import (
	"fmt"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// What was imported is the same after a crash, with and without a checkpoint, and
// the numbers of what was sent are those of elsewhere.
func TestImportSurvives(t *testing.T) {
	for _, checkpoint := range []bool{false, true} {
		t.Run(fmt.Sprintf("checkpoint %v", checkpoint), func(t *testing.T) {
			d := newDriver(Config{})
			c := d.core
			sid := c.ImportSession("reader", "frida", 5, 3600, []uint16{7, 9}, []record.Subscribed{
				{Filter: "a/#", QoS: 2, SubID: 5}, {Filter: "$share/g/work", QoS: 1}})
			entry := func(number uint64, e record.ImportedEntry) record.ImportedEntry {
				pos, ext, size := c.ImportMessage(&record.Message{Topic: []byte("a/b"), Payload: fmt.Appendf(nil, "%d", number), QoS: 2})
				e.Number, e.Position, e.Extent, e.Size = number, uint64(pos), uint32(ext), size
				return e
			}
			c.ImportDeliveries(sid, []record.ImportedEntry{
				entry(70_000, record.ImportedEntry{QoS: 2}),
				entry(70_002, record.ImportedEntry{QoS: 2, Received: true}),
				entry(70_005, record.ImportedEntry{QoS: 1, Retain: true, SubIDs: []uint32{5, 6}}),
			})
			c.ImportDeliveries(sid, []record.ImportedEntry{entry(0, record.ImportedEntry{QoS: 1})})
			group, waiting, ok := c.GroupSID("$share/g/work")
			if !ok || waiting != 0 {
				t.Fatalf("group: %d waiting, %v", waiting, ok)
			}
			c.ImportDeliveries(group, []record.ImportedEntry{entry(0, record.ImportedEntry{QoS: 1})})
			c.ImportRetained(&record.Message{Topic: []byte("a/kept"), Payload: []byte("x"), QoS: 1})
			c.EndImport(sid, d.now, 1800, 70_006)
			d.settle()
			d.commit()
			if checkpoint {
				d.checkpoint()
			}
			if err := d.check(); err != nil {
				t.Fatal(err)
			}
			if err := d.crash(0, 0); err != nil {
				t.Fatal(err)
			}
			if err := d.check(); err != nil {
				t.Fatal(err)
			}
			if err := d.audit(d.core); err != nil {
				t.Fatal(err)
			}
			var got []string
			if err := d.core.EachDelivery(sid, func(x *Delivery) bool {
				got = append(got, fmt.Sprintf("%d qos %d sent %v received %v retain %v ids %v", x.Number, x.QoS, x.Sent, x.Received, x.Retain, x.SubIDs))
				return true
			}); err != nil {
				t.Fatal(err)
			}
			want := []string{
				"70000 qos 2 sent true received false retain false ids []",
				"70002 qos 2 sent true received true retain false ids []",
				"70005 qos 1 sent true received false retain true ids [5 6]",
				"70006 qos 1 sent false received false retain false ids []",
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			info, _ := d.core.Session("reader")
			if info.Counts.Accepted != 4 || info.Waiting != 4 || info.Expiry != 1800 {
				t.Errorf("%+v", info)
			}
			// The retained message went to nobody, though the session subscribes to it.
			if _, waiting, _ := d.core.GroupSID("$share/g/work"); waiting != 1 {
				t.Errorf("%d wait in the group", waiting)
			}
			if !d.core.bySID.get(sid).activity().inbound.has(7) || !d.core.bySID.get(sid).activity().inbound.has(9) {
				t.Error("identifiers of the client's messages are gone")
			}
		})
	}
}
