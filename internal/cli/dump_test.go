package cli

import (
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"
)

// dumped is a line of dump --json.
type dumped struct {
	Kind, Session, ID, Topic, Payload, Detail, Filter string
	Position                                          uint64
	Number, From, Waiting                             uint64
	PayloadBase64                                     []byte `json:"payload_base64"`
	QoS, DeliveryQoS                                  int
}

func dumpJSON(t *testing.T, code int, args ...string) (lines []dumped, kinds map[string]int) {
	t.Helper()
	r := try(t, append([]string{"dump", "--json"}, args...)...)
	r.want(t, code)
	kinds = map[string]int{}
	for line := range strings.Lines(r.out) {
		var d dumped
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		kinds[d.Kind]++
		lines = append(lines, d)
	}
	return lines, kinds
}

func TestDumpRecords(t *testing.T) {
	data := dataFolder(t)
	before := content(t, data)
	all, kinds := dumpJSON(t, ExitOK, data)
	if kinds["message"] != 20 || kinds["subscribed"] != 1 {
		t.Errorf("%v", kinds)
	}
	last := uint64(0)
	for _, d := range all {
		if d.Position <= last {
			t.Fatalf("position %d comes after %d", d.Position, last)
		}
		last = d.Position
	}
	from, to := all[len(all)-10].Position, all[len(all)-3].Position
	if some, _ := dumpJSON(t, ExitOK, data, "--from", jsonOf(from), "--to", jsonOf(to)); len(some) != 7 || some[0].Position != from {
		t.Errorf("%d records from %d to %d", len(some), from, to)
	}
	if _, kinds := dumpJSON(t, ExitOK, data, "--kind", "subscribed", "--kind", "session-opened"); kinds["subscribed"] != 1 || kinds["message"] != 0 || kinds["session-opened"] == 0 {
		t.Errorf("%v", kinds)
	}
	if _, kinds := dumpJSON(t, ExitOK, data, "--topic", "other/#"); len(kinds) != 0 {
		t.Errorf("%v", kinds)
	}
	if lines, kinds := dumpJSON(t, ExitOK, data, "--session", "consumer"); kinds["subscribed"] != 1 || kinds["message"] != 0 || lines[0].Session != "consumer" {
		t.Errorf("%v", kinds)
	}
	try(t, "dump", data, "--kind", "message", "--hex").want(t, ExitOK, "topic count", "payload_hex 13")
	if !maps.EqualFunc(before, content(t, data), bytes.Equal) {
		t.Error("dump changed a file")
	}
}

func jsonOf(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

func TestDumpState(t *testing.T) {
	data := dataFolder(t)
	lines, kinds := dumpJSON(t, ExitOK, data, "--state", "--limit", "all")
	if kinds["delivery"] != 20 || kinds["subscription"] != 1 || kinds["broker"] != 1 {
		t.Errorf("%v", kinds)
	}
	n := uint64(0)
	for _, d := range lines {
		if d.Kind == "delivery" {
			if n++; d.Number != n || d.Session != "consumer" || d.Topic != "count" {
				t.Errorf("delivery %d: %+v", n, d)
			}
		}
	}
	try(t, "dump", data, "--state").want(t, ExitOK, "id consumer", "waiting 20", "and 10 more; --limit all shows all")
	if _, kinds := dumpJSON(t, ExitOK, data, "--state", "--session", "nobody"); len(kinds) > 0 {
		t.Errorf("%v", kinds)
	}
}

// Damage is named where it is, and what is behind it is printed.
func TestDumpGoesOnBehindDamage(t *testing.T) {
	data := dataFolder(t)
	all, _ := dumpJSON(t, ExitOK, data)
	change(t, filepath.Join(data, "journal", "0000000000000001.seg"), func(b []byte) []byte {
		b[all[len(all)-8].Position+8] ^= 1 // in the first segment the position is the offset
		return b
	})
	lines, kinds := dumpJSON(t, ExitDamaged, data)
	if kinds["damage"] != 1 || kinds["message"] != 19 || lines[len(lines)-1].Position != all[len(all)-1].Position {
		t.Errorf("%v", kinds)
	}
	_, kinds = dumpJSON(t, ExitDamaged, data, "--state", "--limit", "all")
	if kinds["delivery"] != 20 {
		t.Errorf("%v", kinds)
	}
}

// A broker goes on while its folder is dumped.
func TestDumpRunning(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := serve(t, "--data", data)
	defer r.stop()
	r.leaveMessages(t, 20)
	if _, kinds := dumpJSON(t, ExitOK, data); kinds["message"] != 20 {
		t.Errorf("%v", kinds)
	}
	if _, kinds := dumpJSON(t, ExitOK, data, "--state", "--limit", "all"); kinds["delivery"] != 20 {
		t.Errorf("%v", kinds)
	}
}

func TestDumpUsage(t *testing.T) {
	data := dataFolder(t)
	try(t, "dump", data, "--kind", "massage").want(t, ExitUsage, "there is no such kind")
	try(t, "dump", data, "--topic", "a/#/b").want(t, ExitUsage, "--topic")
	try(t, "dump", data, "--from", "9", "--to", "8").want(t, ExitUsage, "is not above")
	try(t, "dump", t.TempDir()).want(t, ExitFailure, "is no data folder")
}
