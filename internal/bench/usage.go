package bench

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Usage is what a broker's process uses, where the system tells; 0 where not.
type Usage struct {
	CPU  float64 `json:"cpu_s,omitempty"`      // seconds since it began
	RSS  int64   `json:"rss_bytes,omitempty"`  // memory resident
	Peak int64   `json:"peak_bytes,omitempty"` // ... at most
	Disk int64   `json:"disk_bytes,omitempty"` // files in its data folder
	// Folders is how much of Disk each folder in the data folder has.
	Folders map[string]int64 `json:"folder_bytes,omitempty"`
}

// reserveFile is what our brokers keep for a start on a full disk; no message needs it.
const reserveFile = "reserve"

// ticks is how /proc counts CPU time, in all Linux that there is.
const ticks = 100

// measure looks at a process, unless pid is 0, and a folder, unless it is empty.
func measure(pid int, data string) (u Usage) {
	if pid > 0 {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			u.CPU = cpuSeconds(string(b))
			// The scheduler counts in nanoseconds, but only threads that there are.
			if exact := threadSeconds(pid); exact > u.CPU-2.0/ticks {
				u.CPU = exact
			}
		}
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
			u.RSS, u.Peak = statusBytes(string(b), "VmRSS:"), statusBytes(string(b), "VmHWM:")
		}
	}
	if data != "" {
		// A file that goes while we look is none of the broker's size.
		u.Folders = make(map[string]int64)
		filepath.WalkDir(data, func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && d.Name() != reserveFile {
				if info, err := d.Info(); err == nil {
					size := info.Size() - zerosBehind(name, info.Size())
					u.Disk += size
					within, _ := filepath.Rel(data, name)
					if folder, _, ok := strings.Cut(filepath.ToSlash(within), "/"); ok {
						u.Folders[folder] += size
					}
				}
			}
			return nil
		})
	}
	return u
}

// zerosBehind is how many zeros a file ends with, of its last 256 KiB: room that a
// broker has made for what it has not got yet.
func zerosBehind(name string, size int64) int64 {
	f, err := os.Open(name)
	if err != nil {
		return 0
	}
	defer f.Close()
	tail := make([]byte, min(size, 256<<10))
	n, _ := f.ReadAt(tail, size-int64(len(tail)))
	return int64(n - len(bytes.TrimRight(tail[:n], "\x00")))
}

// threadSeconds sums what the scheduler has counted of a process's threads.
func threadSeconds(pid int) (s float64) {
	names, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil {
			ran, _, _ := strings.Cut(string(b), " ")
			ns, _ := strconv.ParseFloat(ran, 64)
			s += ns / 1e9
		}
	}
	return s
}

// cpuSeconds reads user and system time from /proc/PID/stat.
func cpuSeconds(stat string) float64 {
	// The name of the program may have spaces; it ends with the last bracket.
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticks
}

// statusBytes reads a line such as "VmRSS:  1234 kB" of /proc/PID/status.
func statusBytes(status, name string) int64 {
	_, rest, ok := strings.Cut(status, "\n"+name)
	if !ok {
		return 0
	}
	line, _, _ := strings.Cut(rest, "\n")
	fields := strings.Fields(line)
	if len(fields) != 2 {
		return 0
	}
	n, _ := strconv.ParseInt(fields[0], 10, 64)
	return n << 10
}
