package cli

import (
	"encoding/json"
	"testing"

	"github.com/holdfast-mqtt/holdfast/internal/conformance"
	"github.com/holdfast-mqtt/holdfast/internal/server"
)

func TestConformance(t *testing.T) {
	s, err := server.Start(t.Context(), server.Options{Listen: []string{"127.0.0.1:0"}, Memory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown(t.Context()) })
	broker := s.Addrs()[0].String()
	try(t, "conformance", "--broker", broker, "--only", "MQTT-3.12").want(t, ExitOK, "pass", "MQTT-3.12.4-1", "MQTT 5.0:")
	r := try(t, "conformance", "--broker", broker, "--only", "ping", "--json")
	r.want(t, ExitOK)
	var report conformance.Report
	if err := json.Unmarshal([]byte(r.out), &report); err != nil || len(report.Results) == 0 || len(report.Statements) == 0 {
		t.Errorf("no JSON report: %v\n%s", err, r.out)
	}
	try(t, "conformance", "--broker", broker, "--only", "nonsense").want(t, ExitFailure, "no check fits")
	try(t, "conformance", "--broker", "127.0.0.1:1").want(t, ExitFailure, "cannot be reached")
	try(t, "conformance").want(t, ExitUsage, "--broker")
}
