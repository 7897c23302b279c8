package journal

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const benchFrame = 130 // a small message with its header

// drop is a file system whose writes cost nothing, to see what the rest costs.
type drop struct{ vfs.FS }

type dropFile struct{ vfs.File }

func (d drop) OpenReadWrite(name string, cat vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, cat, opts...)
	return dropFile{f}, err
}

func (dropFile) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

func benchOpen(b *testing.B, fs vfs.FS, dir string) *Journal {
	j, _, err := Open(Options{FS: fs, Dir: dir}, 0, nil)
	if err != nil {
		b.Fatal(err)
	}
	return j
}

// Reserve alone, blocks used again.
func BenchmarkReserve(b *testing.B) {
	j := benchOpen(b, drop{vfs.NewMem()}, testDir)
	b.ReportAllocs()
	b.SetBytes(benchFrame)
	for i := 0; b.Loop(); i++ {
		frame, _, _ := j.Reserve(benchFrame)
		frame[0] = 1
		if i%50_000 == 0 {
			b.StopTimer()
			j.Seal(Stamp{})
			if _, err := j.Commit(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}

// All of Commit but the file system: headers and checksums, per frame.
func BenchmarkCommitWithoutDisk(b *testing.B) {
	j := benchOpen(b, drop{vfs.NewMem()}, testDir)
	b.ReportAllocs()
	b.SetBytes(benchFrame)
	for i := 1; b.Loop(); i++ {
		j.Reserve(benchFrame)
		if i%1000 == 0 {
			j.Seal(Stamp{})
			if _, err := j.Commit(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// Groups of 1000 frames to a real disk, each with its fdatasync.
func BenchmarkCommit(b *testing.B) {
	for _, group := range []int{1, 100, 1000, 10_000} {
		b.Run(map[int]string{1: "group=1", 100: "group=100", 1000: "group=1000", 10_000: "group=10000"}[group], func(b *testing.B) {
			j := benchOpen(b, vfs.Default, b.TempDir())
			defer j.Close()
			b.ReportAllocs()
			b.SetBytes(int64(group) * benchFrame)
			for b.Loop() {
				for range group {
					j.Reserve(benchFrame)
				}
				j.Seal(Stamp{})
				if _, err := j.Commit(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*float64(group)/b.Elapsed().Seconds(), "frames/s")
		})
	}
}

func benchRead(b *testing.B, cached bool) {
	dir := b.TempDir()
	j := benchOpen(b, vfs.Default, dir)
	positions := make([]Position, 100_000)
	for i := range positions {
		_, positions[i], _ = j.Reserve(benchFrame)
	}
	j.Seal(Stamp{})
	if _, err := j.Commit(); err != nil {
		b.Fatal(err)
	}
	if !cached {
		if err := j.Close(); err != nil {
			b.Fatal(err)
		}
		var err error
		if j, _, err = Open(Options{Dir: dir}, j.Durable(), nil); err != nil {
			b.Fatal(err)
		}
	}
	defer j.Close()
	r := j.NewReader()
	defer r.Release()
	b.ReportAllocs()
	b.SetBytes(benchFrame)
	for i := 0; b.Loop(); i++ {
		if _, err := r.Read(positions[i%len(positions)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadFromMemory(b *testing.B) { benchRead(b, true) }
func BenchmarkReadFromFile(b *testing.B)   { benchRead(b, false) }

// Replay of 1 million frames, checked.
func BenchmarkOpen(b *testing.B) {
	fs, dir := vfs.Default, b.TempDir()
	j := benchOpen(b, fs, dir)
	const frames = 1_000_000
	for i := range frames {
		j.Reserve(benchFrame)
		if i%1000 == 999 {
			j.Seal(Stamp{})
			if i%50_000 == 49_999 {
				if _, err := j.Commit(); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(frames * benchFrame)
	for b.Loop() {
		n := 0
		_, _, err := Open(Options{FS: fs, Dir: dir}, 0, func(Position, Extent, Stamp, []byte) error { n++; return nil })
		if err != nil || n != frames {
			b.Fatal(n, err)
		}
	}
}
