package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// program is the path of the built program, set by Main.
var program string

// Main builds the program, runs the tests of m and removes the program again.
// It is all that TestMain has to do; its result is the exit code. Tests that
// were built with the race detector get a program that has it too.
// HOLDFAST_PROGRAM names a program to use instead of building one.
func Main(m *testing.M) int {
	if program = os.Getenv("HOLDFAST_PROGRAM"); program != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "holdfast-program-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "holdfast")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	args := []string{"build", "-o", program}
	if raceDetector {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "github.com/holdfast-mqtt/holdfast/cmd/holdfast")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the program does not build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// Program is the path of the program under test.
func Program() string { return program }
