// Holdfast is an MQTT broker for consumers that come and go. 'holdfast --help'
// says what it can do.
package main

import (
	"os"

	"github.com/holdfast-mqtt/holdfast/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
