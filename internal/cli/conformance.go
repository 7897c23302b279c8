package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/conformance"
)

// ConformanceCmd tests a broker against the statements of the standard.
type ConformanceCmd struct {
	Broker    string        `short:"b" required:"" placeholder:"HOST:PORT" help:"The broker to test: any, not only holdfast."`
	WebSocket string        `name:"websocket" placeholder:"URL" help:"Where the same broker listens for WebSocket, such as ws://HOST:PORT/mqtt: then it is tested too what is about that."`
	Only      []string      `placeholder:"WHAT" help:"Only a version (5.0, 3.1.1, 3.1), statements whose id begins so (MQTT-3.8), or checks whose name begins so; may be repeated."`
	JSON      bool          `name:"json" help:"Print the report as JSON, with the evidence of what failed."`
	Failures  bool          `help:"Print only what failed, and the count."`
	Strict    bool          `help:"Also demand what the standard recommends only: the fitting reason code before an MQTT 5 connection is closed."`
	Timeout   time.Duration `default:"5s" help:"How long to wait for an answer."`
	Parallel  int           `default:"16" help:"How many checks run side by side."`
}

// Help says what it does to the broker, and what the exit codes are.
func (c *ConformanceCmd) Help() string {
	return `Speaks raw bytes to a broker and looks at the bytes that come back, for each numbered
statement of MQTT 3.1.1 and 5.0 that bears on a server. It needs no privileges: clients
without a name must be able to publish and subscribe below "conformance/". All client
identifiers and topics are random; sessions and retained messages are removed afterwards.

Exit code 0: all that applies is kept, 1: the broker cannot be reached, 4: something
is not kept.`
}

// Run runs the suite and prints its report.
func (c *ConformanceCmd) Run(ctx context.Context, s Streams) error {
	began := time.Now()
	report, err := conformance.Run(ctx, conformance.Options{
		Broker: c.Broker, WebSocket: c.WebSocket, Only: c.Only, Timeout: c.Timeout, Parallel: c.Parallel, Strict: c.Strict,
	})
	if err != nil {
		return err
	}
	if c.JSON {
		encoder := json.NewEncoder(s.Out)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(report)
	} else {
		if err = report.Text(s.Out, !c.Failures); err == nil {
			_, err = fmt.Fprintf(s.Out, "%d checks in %.1f s\n", len(report.Results), time.Since(began).Seconds())
		}
	}
	if err != nil {
		return fmt.Errorf("the report could not be written: %w", err)
	}
	if report.Failed() {
		return &ExitError{Code: ExitBroken}
	}
	return nil
}
