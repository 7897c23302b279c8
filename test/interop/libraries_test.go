package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-mqtt/holdfast/test/process"
)

// libraries are the clients with a driver.
func libraries() []library {
	return []library{
		{name: "paho-python 3.1.1", version: 4, start: startPahoPython},
		{name: "paho-python 5.0", version: 5, start: startPahoPython},
		{name: "MQTT.js 3.1.1", version: 4, start: startMQTTjs},
		{name: "MQTT.js 5.0", version: 5, start: startMQTTjs},
		{name: "paho.mqtt.golang", version: 4, disorderly: true, repeats: true, start: startSelf("paho.mqtt.golang")},
		{name: "paho.golang", version: 5, start: startSelf("paho.golang")},
	}
}

// python is the interpreter that has Debian's paho, unless HOLDFAST_PYTHON names
// another: what "python3" finds first may be one that knows no Debian packages.
func python() string {
	if p := os.Getenv("HOLDFAST_PYTHON"); p != "" {
		return p
	}
	return "/usr/bin/python3"
}

// pahoPythonVersion is the one that the tests are about; the interface of 2.x is
// another one.
const pahoPythonVersion = "1.6.1"

func startPahoPython(t *testing.T) *driver {
	t.Helper()
	check := exec.Command(python(), "-c", "import paho.mqtt; print(paho.mqtt.__version__)")
	check.Env = process.Environment()
	out, err := check.Output()
	if err != nil {
		missing(t, "python-paho", "apt-get install python3-paho-mqtt")
	}
	if v := strings.TrimSpace(string(out)); v != pahoPythonVersion {
		missing(t, "python-paho "+pahoPythonVersion+" (found "+v+")", "apt-get install python3-paho-mqtt, or set HOLDFAST_PYTHON")
	}
	return startProgram(t, "paho-python", nil, python(), "testdata/paho_python.py")
}

func startMQTTjs(t *testing.T) *driver {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "node", "apt-get install nodejs npm")
	}
	modules := nodeModules(t)
	if modules == "" {
		missing(t, "MQTT.js", "npm install --prefix test/interop mqtt@5.16.0")
	}
	return startProgram(t, "MQTT.js", []string{"NODE_PATH=" + modules}, node, "testdata/mqttjs.cjs")
}

// nodeModules is the folder with MQTT.js: NODE_PATH, beside this file, or where
// .ci/run puts it.
func nodeModules(t *testing.T) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("NODE_PATH")), "node_modules", "../../.ci/tmp/npm/node_modules") {
		dir, err := filepath.Abs(dir)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "mqtt", "package.json")); err == nil {
			return dir
		}
	}
	return ""
}
