package server

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// startThere names the variable that makes the test a process that starts a broker in a
// data folder, and says how that ended.
const startThere = "HOLDFAST_TEST_START"

// A small file system that is really full: first by messages, which is a state, then by
// somebody else who takes the reserve too, which ends the broker. What was acknowledged
// is there when there is room again.
func TestSmallFileSystem(t *testing.T) {
	if data := os.Getenv(startThere); data != "" {
		_, err := Start(t.Context(), Options{DataDir: data, Listen: []string{"127.0.0.1:0"}})
		fmt.Println(err)
		return
	}
	dir := t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("a file system of its own needs root")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=120m", "none", dir).CombinedOutput(); err != nil {
		t.Skipf("no file system can be mounted here: %v %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	o := Options{DataDir: filepath.Join(dir, "data"), SegmentSize: 1 << 20, Listen: []string{"127.0.0.1:0"}, DiskBudget: Budget{Bytes: 1 << 40}}
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	consumer := dial(t, s, persistent("c"), false)
	send(t, consumer, subscribe(1, "t", 1))
	want(t, consumer, "SUBACK 1 [1]")
	leave(t, consumer)
	p := dial(t, s, clean(packet.V5, "p"), false)
	payload := strings.Repeat("x", 100_000)
	taken := 0
	publishOne := func() (answer string) {
		t.Helper()
		send(t, p, publish("t", 1, uint16(taken+1), fmt.Sprint(taken, payload)))
		got, err := p.ReadPacketWithin(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if answer = show(got); answer == fmt.Sprintf("PUBACK %d 0x00", taken+1) {
			taken++
		}
		return answer
	}
	ticker := time.NewTicker(5 * time.Millisecond) // the disk is looked at once a second
	defer ticker.Stop()
	refused := ""
	for range 2000 {
		if answer := publishOne(); strings.HasSuffix(answer, "0x97") {
			refused = answer
			break
		}
		<-ticker.C
	}
	if refused == "" || taken < 50 {
		t.Fatalf("%d messages of 100 kB were taken on 120 MB, the last answer is %q", taken, refused)
	}

	// The reserve is gone as well.
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(block)
	}
	if f.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	// Any write to the journal fails now, at the latest when its page is used up.
	for i := range 10_000 {
		c := persistent(fmt.Sprint("new-", i))
		nc, err := client.Dial(t.Context(), s.Addrs()[0].String(), packet.V311)
		if err != nil {
			break
		}
		if _, err := nc.Connect(c); err != nil {
			break
		}
		nc.Close()
	}
	if err := s.Wait(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the server ended with %v", err)
	}
	// Without its reserve it says what to do.
	reserve := filepath.Join(o.DataDir, folder.ReserveFile)
	if err := os.Rename(reserve, reserve+".away"); err != nil {
		t.Fatal(err)
	}
	// In a process of its own: Pebble, which would try for ever, leaves its lock behind.
	other := exec.Command(os.Args[0], "-test.run", "^TestSmallFileSystem$")
	other.Env = append(os.Environ(), startThere+"="+o.DataDir)
	if out, err := other.CombinedOutput(); err != nil || !strings.Contains(string(out), "no space left on device; make room") {
		t.Errorf("a start on a full disk: %v, %s", err, out)
	}
	if err := os.Rename(reserve+".away", reserve); err != nil {
		t.Fatal(err)
	}
	// With it it starts all the same, and refuses what is new.
	s = begin(t, o)
	if _, err := os.Stat(reserve); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the reserve: %v", err)
	}
	p = dial(t, s, clean(packet.V5, "p"), false)
	if answer := publishOne(); !strings.HasSuffix(answer, "0x97") {
		t.Errorf("with a full disk the answer is %q", answer)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	consumer = dial(t, s, persistent("c"), true)
	for i := range taken {
		want(t, consumer, fmt.Sprintf("publish t q1 id%d %s", i+1, fmt.Sprint(i, payload)))
		send(t, consumer, &packet.Ack{Kind: packet.PUBACK, ID: uint16(i + 1)})
	}
	for range 2000 { // a checkpoint, and there is room
		if answer := publishOne(); strings.HasSuffix(answer, "0x00") {
			want(t, consumer, fmt.Sprintf("publish t q1 id%d %s", taken, fmt.Sprint(taken-1, payload)))
			return
		}
		<-ticker.C
	}
	t.Error("nothing is taken, though all was consumed")
}
