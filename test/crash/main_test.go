package crash

import (
	"flag"
	"os"
	"testing"

	"github.com/holdfast-mqtt/holdfast/test/process"
)

var (
	roundsFlag = flag.Int("rounds", 3, "crash rounds")
	seedFlag   = flag.Uint64("seed", 0, "seed of the choices; 0: a new one")
	keepFlag   = flag.String("keep", "", "data folder to use and keep; empty: a temporary one")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(process.Main(m))
}
