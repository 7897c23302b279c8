package interop

import (
	"os"
	"testing"

	"github.com/holdfast-mqtt/holdfast/test/process"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(selfDriver); name != "" {
		drive(name)
		return
	}
	os.Exit(process.Main(m))
}

// missing skips a test that lacks a client, or fails it where all must be there.
func missing(t *testing.T, what, install string) {
	t.Helper()
	if os.Getenv("HOLDFAST_REQUIRE_INTEROP") == "1" {
		t.Fatalf("%s is missing; install it: %s", what, install)
	}
	t.Skipf("%s is missing; to run this test: %s", what, install)
}
