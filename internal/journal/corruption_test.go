package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// patient is a journal of 3 segments with 4 batches of 3 frames of 100 bytes
// each, as a process that died left it; the last commit was of the last batch.
type patient struct {
	fs      *vfs.MemFS
	entries []entry
	batches []Position // where the batch headers are
}

func newPatient(t testing.TB) *patient {
	p := &patient{fs: vfs.NewMem()}
	o := small(p.fs)
	o.SegmentSize = segmentHeadSize + 4*(batchHeadSize+3*(frameHeadSize+100)) + batchHeadSize
	o.BlockSize, o.Cache = 64<<10, 64<<10 // or batches would end with blocks
	j, _, _ := open(t, o, 0)
	for i := range 12 {
		var es []entry
		for k := range 3 {
			es = append(es, put(j, body(i*3+k, 100)))
		}
		p.batches = append(p.batches, es[0].pos-batchHeadSize)
		p.entries = append(p.entries, seal(j, Stamp{Clock: int64(i + 1)}, es...)...)
		mustCommit(t, j)
	}
	if n := len(j.Extents()); n != 3 || p.entries[12].ext != 2 || p.entries[11].ext != 1 {
		t.Fatalf("%d segments", n)
	}
	return p
}

func (p *patient) path(ext Extent) string { return p.fs.PathJoin(testDir, SegmentName(ext)) }

// offset returns the file and the offset of a position.
func (p *patient) offset(pos Position) (path string, off int) {
	seg := (pos - firstPosition) / (p.batches[4] - p.batches[0])
	return p.path(Extent(seg + 1)), segmentHeadSize + int(pos-p.batches[4*seg])
}

// edit changes the bytes of a file.
func (p *patient) edit(t testing.TB, path string, f func(b []byte) []byte) {
	t.Helper()
	r, err := p.fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.fs.Create(path, WriteCategory)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(f(b)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []io.Closer{r, w} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// flip inverts a bit of the byte at pos+delta.
func (p *patient) flip(t testing.TB, pos Position, delta int) {
	path, off := p.offset(pos)
	p.edit(t, path, func(b []byte) []byte { b[off+delta] ^= 0x10; return b })
}

func (p *patient) truncate(t testing.TB, path string, size int) {
	p.edit(t, path, func(b []byte) []byte { return b[:size] })
}

// Every corruption by name, with what is left of the 36 frames.
func TestCorruption(t *testing.T) {
	type outcome struct {
		lost    []int // indices of the entries that are not replayed
		damaged int   // ranges
		torn    bool
	}
	all := func(from, to int) (s []int) {
		for i := from; i < to; i++ {
			s = append(s, i)
		}
		return s
	}
	last := 33 // first entry of the last batch
	tests := []struct {
		name string
		do   func(t *testing.T, p *patient)
		from int // entry that recovery starts from; 0: all
		want outcome
	}{
		{"untouched", func(t *testing.T, p *patient) {}, 0, outcome{}},
		{"torn_in_last_header", func(t *testing.T, p *patient) {
			path, off := p.offset(p.batches[11])
			p.truncate(t, path, off+20)
		}, 0, outcome{lost: all(last, 36), torn: true}},
		{"torn_in_last_frame", func(t *testing.T, p *patient) {
			path, off := p.offset(p.entries[35].pos)
			p.truncate(t, path, off+50)
		}, 0, outcome{lost: all(last, 36), torn: true}},
		{"torn_last_batch_is_zeros", func(t *testing.T, p *patient) {
			path, off := p.offset(p.batches[11])
			p.edit(t, path, func(b []byte) []byte { clear(b[off:]); return b })
		}, 0, outcome{lost: all(last, 36), torn: true}},
		{"last_batch_never_written", func(t *testing.T, p *patient) {
			path, off := p.offset(p.batches[11])
			p.truncate(t, path, off)
		}, 0, outcome{lost: all(last, 36)}},
		{"garbage_behind_the_end", func(t *testing.T, p *patient) {
			p.edit(t, p.path(3), func(b []byte) []byte { return append(b, "HFbt HFnd HFbt"...) })
		}, 0, outcome{torn: true}},
		{"bad_last_frame", func(t *testing.T, p *patient) {
			p.flip(t, p.entries[35].pos, 50)
		}, 0, outcome{lost: all(last, 36), torn: true}},
		{"bad_last_frame_known_durable", func(t *testing.T, p *patient) {
			p.flip(t, p.entries[34].pos, 50)
		}, 35, outcome{lost: all(34, 35), damaged: 1}},
		{"last_batches_lost_but_known_durable", func(t *testing.T, p *patient) {
			path, off := p.offset(p.batches[10])
			p.truncate(t, path, off)
		}, 35, outcome{lost: all(30, 36), damaged: 1}},
		{"bad_frame_before_the_last_batch", func(t *testing.T, p *patient) {
			p.flip(t, p.entries[31].pos, 50) // the last batch says that it was on the disk
		}, 0, outcome{lost: all(31, 32), damaged: 1}},
		{"bad_frame_in_the_middle", func(t *testing.T, p *patient) {
			p.flip(t, p.entries[4].pos, 60)
		}, 0, outcome{lost: all(4, 5), damaged: 1}},
		{"two_bad_frames_of_a_batch", func(t *testing.T, p *patient) {
			p.flip(t, p.entries[3].pos, 60)
			p.flip(t, p.entries[5].pos, 60)
		}, 0, outcome{lost: []int{3, 5}, damaged: 2}},
		{"bad_frame_checksum", func(t *testing.T, p *patient) {
			p.flip(t, p.entries[4].pos, 0)
		}, 0, outcome{lost: all(4, 5), damaged: 1}},
		{"bad_frame_length", func(t *testing.T, p *patient) {
			p.flip(t, p.entries[4].pos, 4) // where the next frame starts is lost with it
		}, 0, outcome{lost: all(4, 6), damaged: 1}},
		{"huge_frame_length", func(t *testing.T, p *patient) {
			p.flip(t, p.entries[4].pos, 7)
		}, 0, outcome{lost: all(4, 6), damaged: 1}},
		{"bad_batch_magic", func(t *testing.T, p *patient) {
			p.flip(t, p.batches[1], 1)
		}, 0, outcome{lost: all(3, 6), damaged: 1}},
		{"bad_batch_length", func(t *testing.T, p *patient) {
			p.flip(t, p.batches[1], 4)
		}, 0, outcome{lost: all(3, 6), damaged: 1}},
		{"bad_batch_position", func(t *testing.T, p *patient) {
			p.flip(t, p.batches[1], 8)
		}, 0, outcome{lost: all(3, 6), damaged: 1}},
		{"bad_synced", func(t *testing.T, p *patient) {
			p.flip(t, p.batches[1], 36)
		}, 0, outcome{lost: all(3, 6), damaged: 1}},
		{"two_bad_batches_apart", func(t *testing.T, p *patient) {
			p.flip(t, p.batches[1], 1)
			p.flip(t, p.batches[6], 1)
		}, 0, outcome{lost: append(all(3, 6), all(18, 21)...), damaged: 2}},
		{"batch_of_zeros", func(t *testing.T, p *patient) {
			path, off := p.offset(p.batches[5])
			_, end := p.offset(p.batches[6])
			p.edit(t, path, func(b []byte) []byte { clear(b[off:end]); return b })
		}, 0, outcome{lost: all(15, 18), damaged: 1}},
		{"batch_in_another_batch's_place", func(t *testing.T, p *patient) {
			path, off := p.offset(p.batches[5])
			_, end := p.offset(p.batches[6])
			p.edit(t, path, func(b []byte) []byte { copy(b[off:end], b[end:2*end-off]); return b })
		}, 0, outcome{lost: all(15, 18), damaged: 1}},
		{"last_batch_of_a_full_segment", func(t *testing.T, p *patient) {
			p.flip(t, p.batches[7], 1)
		}, 0, outcome{lost: all(21, 24), damaged: 1}},
		{"full_segment_cut_short", func(t *testing.T, p *patient) {
			path, off := p.offset(p.batches[7])
			p.truncate(t, path, off+60)
		}, 0, outcome{lost: all(21, 24), damaged: 2}},
		{"full_segment_without_end_mark", func(t *testing.T, p *patient) {
			p.edit(t, p.path(1), func(b []byte) []byte { return b[:len(b)-batchHeadSize] })
		}, 0, outcome{}},
		{"garbage_behind_a_full_segment", func(t *testing.T, p *patient) {
			p.edit(t, p.path(1), func(b []byte) []byte { return append(b, b...) })
		}, 0, outcome{}},
		{"bad_segment_header", func(t *testing.T, p *patient) {
			p.edit(t, p.path(2), func(b []byte) []byte { clear(b[:segmentHeadSize]); return b })
		}, 0, outcome{damaged: 1}},
		{"bad_first_segment_header", func(t *testing.T, p *patient) {
			p.edit(t, p.path(1), func(b []byte) []byte { b[20] ^= 1; return b })
		}, 0, outcome{damaged: 1}},
		{"bad_last_segment_header", func(t *testing.T, p *patient) {
			p.edit(t, p.path(3), func(b []byte) []byte { b[0] ^= 1; return b })
		}, 0, outcome{damaged: 1}},
		{"bad_segment_header_and_batch", func(t *testing.T, p *patient) {
			p.edit(t, p.path(2), func(b []byte) []byte { clear(b[:segmentHeadSize+30]); return b })
		}, 0, outcome{lost: all(12, 15), damaged: 2}},
		{"segment_of_zeros", func(t *testing.T, p *patient) {
			p.edit(t, p.path(2), func(b []byte) []byte { clear(b); return b })
		}, 0, outcome{lost: all(12, 24), damaged: 2}},
		{"last_segment_of_zeros", func(t *testing.T, p *patient) {
			p.edit(t, p.path(3), func(b []byte) []byte { clear(b); return b })
		}, 0, outcome{lost: all(24, 36), damaged: 1}},
		{"segment_emptied", func(t *testing.T, p *patient) {
			p.truncate(t, p.path(2), 0)
		}, 0, outcome{lost: all(12, 24), damaged: 2}},
		{"another_segment's_name", func(t *testing.T, p *patient) {
			p.edit(t, p.path(2), func([]byte) []byte { return []byte("not a journal at all, but it is called like one. And long.......") })
		}, 0, outcome{lost: all(12, 24), damaged: 2}},
		{"segment_died_at_birth", func(t *testing.T, p *patient) {
			p.edit(t, p.path(3), func(b []byte) []byte { return b }) // leave
			create(t, p.fs, p.path(4), nil)
		}, 0, outcome{}},
		{"segment_died_at_birth_with_half_a_header", func(t *testing.T, p *patient) {
			create(t, p.fs, p.path(4), []byte("HOLDFAST"))
		}, 0, outcome{}},
		{"below_from_is_not_read", func(t *testing.T, p *patient) {
			p.flip(t, p.entries[4].pos, 60)
			p.truncate(t, p.path(2), segmentHeadSize)
		}, 24, outcome{}},
		{"foreign_files", func(t *testing.T, p *patient) {
			create(t, p.fs, p.fs.PathJoin(testDir, "README"), []byte("hello"))
			create(t, p.fs, p.fs.PathJoin(testDir, "1.seg"), []byte("hello"))
			create(t, p.fs, p.fs.PathJoin(testDir, "0000000000000000.seg"), []byte("hello"))
			create(t, p.fs, p.fs.PathJoin(testDir, "0000004294967296.seg"), []byte("hello"))
			create(t, p.fs, p.fs.PathJoin(testDir, "0000000000000002.seg.bak"), []byte("hello"))
		}, 0, outcome{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPatient(t)
			tt.do(t, p)
			var from Position
			first := tt.from
			if tt.from > 0 {
				from = p.entries[tt.from].pos
			}
			lost := make(map[Position]bool)
			for _, i := range tt.want.lost {
				lost[p.entries[i].pos] = true
			}
			var want []entry
			for _, e := range p.entries[first:] {
				if !lost[e.pos] {
					want = append(want, e)
				}
			}

			before := p.fs.String()
			rep, err := Verify(p.fs, testDir, func(VerifyEvent) {})
			if err != nil {
				t.Fatalf("Verify: %v", err)
			}
			if after := p.fs.String(); after != before {
				t.Fatalf("Verify changed\n%s\ninto\n%s", before, after)
			}
			if tt.from == 0 && (len(rep.Damaged) != tt.want.damaged || int(rep.Frames) != len(want)) {
				t.Errorf("Verify: %+v, want %d damaged and %d frames", rep, tt.want.damaged, len(want))
			}

			j, rec, got := open(t, small(p.fs), from)
			wantEntries(t, got, want)
			if len(rec.Damaged) != tt.want.damaged {
				t.Errorf("damaged: %v, want %d", rec.Damaged, tt.want.damaged)
			}
			if (rec.TornBytes > 0) != tt.want.torn {
				t.Errorf("%d bytes torn", rec.TornBytes)
			}
			for _, d := range rec.Damaged {
				var ce *CorruptError
				if !errors.As(d.Err, &ce) || ce.Path == "" || ce.Detail == "" || ce.Advice == "" || d.To < d.From {
					t.Errorf("%+v does not say what is wrong", d)
				}
			}
			// What was replayed can be read by position. What was not is within
			// what was reported; to read it fails, or succeeds when all that was
			// bad is the header of its batch.
			r := j.NewReader()
			for i, e := range p.entries {
				if e.pos >= j.Durable() || i < first {
					continue
				}
				b, err := r.Read(e.pos)
				if err == nil && !bytes.Equal(b, e.body) || err != nil && !lost[e.pos] {
					t.Errorf("Read(%v) = %d bytes, %v", e, len(b), err)
				}
				reported := slices.ContainsFunc(rec.Damaged, func(d Damage) bool { return d.From <= e.pos && e.pos < d.To })
				if reported != lost[e.pos] {
					t.Errorf("%v lost %v, reported %v", e, lost[e.pos], reported)
				}
			}
			r.Release()

			// It goes on behind, and the next start finds the same and the new.
			next := seal(j, Stamp{Clock: 99}, put(j, []byte("next")))
			if next[0].pos < from {
				t.Errorf("positions go back below %d: %v", from, next)
			}
			mustCommit(t, j)
			r = j.NewReader()
			if b, err := r.Read(next[0].pos); err != nil || string(b) != "next" {
				t.Errorf("%s, %v", b, err)
			}
			mustClose(t, j)
			j, rec2, got := open(t, small(p.fs), from)
			wantEntries(t, got, append(want, next...))
			if tt.from == 0 && len(rec2.Damaged) < len(rec.Damaged) || rec2.TornBytes != 0 {
				t.Errorf("second start: %+v, first: %+v", rec2, rec)
			}
			mustClose(t, j)
		})
	}
}

func create(t testing.TB, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, WriteCategory)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// What must not start, and changes nothing.
func TestRefused(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, p *patient)
		from Position
		want string
	}{
		{"newer_version", func(t *testing.T, p *patient) {
			p.edit(t, p.path(2), func(b []byte) []byte { binary.LittleEndian.PutUint32(b[8:], 3); return b })
		}, 0, "version 3"},
		{"missing_segment", func(t *testing.T, p *patient) {
			if err := p.fs.Remove(p.path(2)); err != nil {
				t.Fatal(err)
			}
		}, 0, "missing"},
		{"missing_first_segment", func(t *testing.T, p *patient) {
			if err := p.fs.Remove(p.path(1)); err != nil {
				t.Fatal(err)
			}
		}, 100, "missing"},
		{"all_missing", func(t *testing.T, p *patient) {
			for ext := range 3 {
				if err := p.fs.Remove(p.path(Extent(ext + 1))); err != nil {
					t.Fatal(err)
				}
			}
		}, 1000, "missing"},
		{"two_journals_mixed", func(t *testing.T, p *patient) {
			p.edit(t, p.path(3), func(b []byte) []byte {
				copy(b, segmentHead{version: 1, ext: 3, first: p.batches[4]}.encode())
				return b
			})
			p.edit(t, p.path(2), func(b []byte) []byte {
				copy(b, segmentHead{version: 1, ext: 2, first: p.batches[8]}.encode())
				return b
			})
		}, 0, "mixed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPatient(t)
			tt.do(t, p)
			before := p.fs.String()
			_, _, err := Open(small(p.fs), tt.from, func(Position, Extent, Stamp, []byte) error { return nil })
			var ce *CorruptError
			var ve *VersionError
			if !errors.As(err, &ce) && !errors.As(err, &ve) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Open: %v", err)
			}
			if after := p.fs.String(); after != before {
				t.Fatalf("Open changed\n%s\ninto\n%s", before, after)
			}
		})
	}
}

func TestReplayErrorEndsOpen(t *testing.T) {
	p := newPatient(t)
	stop := errors.New("stop")
	n := 0
	_, _, err := Open(small(p.fs), 0, func(Position, Extent, Stamp, []byte) error {
		if n++; n == 5 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 5 {
		t.Fatalf("%v after %d frames", err, n)
	}
}

func TestVerifyTellsWhatItFinds(t *testing.T) {
	p := newPatient(t)
	p.flip(t, p.entries[4].pos, 60)
	p.flip(t, p.entries[35].pos, 60)
	if err := p.fs.Remove(p.path(2)); err != nil {
		t.Fatal(err)
	}
	create(t, p.fs, p.fs.PathJoin(testDir, "notes"), nil)
	create(t, p.fs, p.path(4), nil)
	var got []string
	rep, err := Verify(p.fs, testDir, func(e VerifyEvent) {
		got = append(got, fmt.Sprintf("%v %d: %d batches, %d frames", e.Kind, e.Extent, e.Batches, e.Frames))
	})
	want := []string{
		"foreign 0: 0 batches, 0 frames",
		"damage 1: 0 batches, 0 frames",
		"segment 1: 4 batches, 11 frames",
		"missing 3: 0 batches, 0 frames",
		"torn 3: 0 batches, 0 frames",
		"segment 3: 3 batches, 9 frames",
		"torn 4: 0 batches, 0 frames",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%v\n got %q\nwant %q", err, got, want)
	}
	if rep.Segments != 2 || rep.Frames != 20 || len(rep.Damaged) != 1 || rep.TornBytes != 48+3*108 || rep.LastStamp.Clock != 11 {
		t.Fatalf("%+v", rep)
	}
}

// Whatever the bytes of a segment are, Open ends, replays only frames that
// were written, and a second Open replays the same.
func FuzzRecover(f *testing.F) {
	f.Add(uint16(100), []byte{0}, uint16(0))
	f.Add(uint16(64), []byte("HFbt"), uint16(700))
	f.Add(uint16(500), make([]byte, 300), uint16(0))
	f.Add(uint16(0), make([]byte, 64), uint16(1400))
	f.Add(uint16(500), []byte("0"), uint16(19))
	f.Fuzz(func(t *testing.T, at uint16, over []byte, cut uint16) {
		p := newPatient(t)
		written := make(map[Position]entry)
		for _, e := range p.entries {
			written[e.pos] = e
		}
		ext := Extent(at%3 + 1)
		version, empty := false, false
		p.edit(t, p.path(ext), func(b []byte) []byte {
			copy(b[int(at)%len(b):], over)
			if cut > 0 {
				b = b[:int(cut)%len(b)]
			}
			version = len(b) >= 12 && string(b[:8]) == "HOLDFAST" && binary.LittleEndian.Uint32(b[8:])-1 >= compactVersion
			empty = ext == 3 && len(b) <= segmentHeadSize
			return b
		})
		var first []entry
		for i := range 2 {
			var got []entry
			j, _, err := Open(small(p.fs), 0, func(pos Position, ext Extent, s Stamp, frame []byte) error {
				got = append(got, entry{pos, ext, s, slices.Clone(frame)})
				return nil
			})
			if err != nil {
				var missing *MissingError
				if !version && !(empty && errors.As(err, &missing)) { // the newest is missed when nothing is in it
					t.Fatal(err)
				}
				return
			}
			for _, e := range got {
				if !equalEntry(e, written[e.pos]) {
					t.Fatalf("%v was never written", e)
				}
			}
			if i == 0 {
				first = got
			} else {
				wantEntries(t, got, first)
			}
			mustClose(t, j)
		}
	})
}
