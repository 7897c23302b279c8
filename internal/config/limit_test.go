package config

import (
	"bytes"
	"strings"
	"testing"
)

const someLimits = `
[[limit]]
clients = "sensor-*"
messages = 10
overflow = "drop-oldest"
[[limit]]
users = "plant?"
clients = "$share/*"
bytes = "1KiB"
[[limit]]
users = "*"
messages = 0
[limits]
messages = 1000
overflow = "drop-newest"
`

// What a block leaves out is what [limits] says, wherever that stands.
func TestLimits(t *testing.T) {
	c, err := Load(write(t, someLimits), nil, []Override{{Key: "limits.bytes", Value: "1MiB", From: "--set"}})
	if err != nil {
		t.Fatal(err)
	}
	check := func(c *Config) {
		t.Helper()
		if len(c.Special) != 3 {
			t.Fatalf("%+v", c.Special)
		}
		for i, want := range []Limit{
			{Clients: "sensor-*", Messages: 10, Bytes: MiB, Overflow: OverflowDropOldest},
			{Clients: "$share/*", Users: "plant?", Messages: 1000, Bytes: KiB, Overflow: OverflowDropNewest},
			{Users: "*", Messages: 0, Bytes: MiB, Overflow: OverflowDropNewest},
		} {
			if got := c.Special[i]; got.Clients != want.Clients || got.Users != want.Users || got.Messages != want.Messages || got.Bytes != want.Bytes || got.Overflow != want.Overflow {
				t.Errorf("block %d is %+v, want %+v", i, got, want)
			}
		}
	}
	check(c)
	if len(c.Warnings) > 0 {
		t.Errorf("warnings %q", c.Warnings)
	}
	var printed bytes.Buffer
	if err := c.Print(&printed); err != nil {
		t.Fatal(err)
	}
	back, err := Load(write(t, printed.String()), nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, printed.String())
	}
	check(back)

	for _, tt := range []struct {
		block      int
		client     string
		user       string
		fits       bool
		whatItSays string
	}{
		{0, "sensor-7", "", true, "a star"},
		{0, "sensor-", "anybody", true, "a star for nothing"},
		{0, "sensor-a/b\nc", "", true, "a star for any character"},
		{0, "a-sensor-7", "", false, "the whole"},
		{0, "sensor", "", false, "a text that is there"},
		{1, "$share/g/t", "plant7", true, "a group"},
		{1, "$share/g/t", "plant", false, "a question mark for one"},
		{1, "other", "plant7", false, "both"},
		{2, "other", "", true, "a star for all"},
	} {
		if got := c.Special[tt.block].Fits(tt.client, tt.user); got != tt.fits {
			t.Errorf("block %d fits %q of %q: %v (%s)", tt.block, tt.client, tt.user, got, tt.whatItSays)
		}
	}
}

func TestWrongLimits(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"[limit]\nclients = \"a\"\n", ":1: limit: is a list of blocks; write [[limit]]"},
		{"limit.clients = \"a\"\n", ":1: limit.clients: is a list of blocks"},
		{"[[limit]]\nmessages = 3\n", ":1: limit: says nobody's limits"},
		{"[[limit]]\nclient = \"a\"\n", `:2: limit.client: unknown key; did you mean "clients"?`},
		{"[[limit]]\nclients = \"a\"\noverflow = \"drop\"\n", `:3: limit.overflow: "drop" is not possible`},
		{"[[limit]]\nclients = \"a\"\nbytes = \"many\"\n", ":3: limit.bytes:"},
		{"[[limit]]\nclients = \"a\"\n[limit.more]\nx = 1\n", "write [[limit]] above each"},
		{strings.Repeat("[[limit]]\nclients = \"a\"\n", mostLimits+1), ":201: limit: there are more than 100"},
		{"[[limits]]\nmessages = 3\n", "is a table, not a list of them; write [limits]"},
	} {
		_, err := Load(write(t, c.file), nil, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.100s\n got %v\nwant %s", c.file, err, c.want)
		}
	}
	_, err := Load("", nil, []Override{{Key: "limit.messages", Value: "1", From: "--set"}})
	if err == nil || !strings.Contains(err.Error(), "write [[limit]] there") {
		t.Errorf("%v", err)
	}
}
