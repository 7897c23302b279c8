package cli

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/folder"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
	"github.com/holdfast-mqtt/holdfast/internal/state"
)

// dataFolder is one that a broker has left, with messages waiting.
func dataFolder(t *testing.T) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	r := serve(t, "--data", data)
	r.leaveMessages(t, 20)
	if code := r.stop(); code != ExitOK {
		t.Fatalf("serve: exit code %d", code)
	}
	return data
}

// content is every file of a folder.
func content(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[name], err = os.ReadFile(name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestCheckClean(t *testing.T) {
	data := dataFolder(t)
	before := content(t, data)
	try(t, "check", data).want(t, ExitOK, "journal     1 file, ", "checkpoint ", "delivered 0 + waiting 20 + dropped 0", data+" is sound")
	try(t, "check", data, "--verbose").want(t, ExitOK, "segment    ")
	var r inspect.Report
	answer := try(t, "check", data, "--json")
	if err := json.Unmarshal([]byte(answer.out), &r); err != nil || answer.code != ExitOK {
		t.Fatalf("%v, exit code %d: %s", err, answer.code, answer.out)
	}
	if !r.Sound || r.Journal.Messages != 20 || r.Content == nil || r.Content.Checked != 20 || r.Content.Sessions == 0 ||
		r.Checkpoint.Applied != r.Journal.End || len(r.Findings) > 0 {
		t.Errorf("%+v", r)
	}
	if !maps.EqualFunc(before, content(t, data), bytes.Equal) {
		t.Error("check changed a file")
	}
}

func TestCheckDamage(t *testing.T) {
	segment := filepath.Join("journal", "0000000000000001.seg")
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, data string)
		want   string
	}{
		{"a flipped bit in the middle", func(t *testing.T, data string) {
			change(t, filepath.Join(data, segment), func(b []byte) []byte { b[bytes.LastIndex(b, []byte("count"))] ^= 1; return b })
		}, `missing     session "consumer": 1 delivery, numbers 20 to 20`},
		{"the end is gone", func(t *testing.T, data string) {
			change(t, filepath.Join(data, segment), func(b []byte) []byte {
				b = bytes.TrimRight(b, "\x00") // where the next commits would have been
				return b[:len(b)/2]
			})
		}, "the next start needs them"},
		{"a checkpoint file is gone", func(t *testing.T, data string) {
			names, err := filepath.Glob(filepath.Join(data, "state", "MANIFEST-*"))
			if err != nil || len(names) == 0 {
				t.Fatal(names, err)
			}
			for _, name := range names {
				if err := os.Remove(name); err != nil {
					t.Fatal(err)
				}
			}
		}, "damage      " + string(filepath.Separator)},
		{"the checkpoint is gone", func(t *testing.T, data string) {
			if err := os.RemoveAll(filepath.Join(data, "state")); err != nil {
				t.Fatal(err)
			}
		}, "there is no checkpoint store; it is made before the journal, so it was removed; the journal goes back to its beginning"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := dataFolder(t)
			test.damage(t, data)
			before := content(t, data)
			try(t, "check", data).want(t, ExitDamaged, test.want, data+" is DAMAGED: ")
			if !maps.EqualFunc(before, content(t, data), bytes.Equal) {
				t.Error("check changed a file")
			}
			var r inspect.Report
			answer := try(t, "check", data, "--json")
			if err := json.Unmarshal([]byte(answer.out), &r); err != nil || answer.code != ExitDamaged || r.Sound || r.Bad() == 0 {
				t.Errorf("%v, exit code %d: %s", err, answer.code, answer.out)
			}
		})
	}
}

// change rewrites a file.
func change(t *testing.T, name string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, f(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What cannot be checked is neither clean nor damaged.
func TestCheckCannot(t *testing.T) {
	try(t, "check", filepath.Join(t.TempDir(), "none")).want(t, ExitFailure, "no such file", "that 'holdfast serve' has as --data")
	try(t, "check", t.TempDir()).want(t, ExitFailure, "is no data folder")

	newer := dataFolder(t)
	change(t, filepath.Join(newer, "journal", "0000000000000001.seg"), func(b []byte) []byte { b[8] = 99; return b })
	try(t, "check", newer).want(t, ExitFailure, "has format version 99")
}

// While a broker writes the folder there is nothing to check in peace.
func TestCheckRunning(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := serve(t, "--data", data)
	defer r.stop()
	try(t, "check", data).want(t, ExitFailure, "while a broker runs on it", "holdfast backup --data "+data)
}

// What no checksum can tell: the checkpoint's entries contradict each other or
// the journal.
func TestCheckContradictions(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(t *testing.T, key, value []byte, b *state.Batch)
		tab  broker.Table
		want string
	}{
		{"counts", func(t *testing.T, key, value []byte, b *state.Batch) {
			value[2]++ // accepted: version, next number and this one are one byte each
			b.Put(byte(broker.TableCore), key, value)
		}, broker.TableCore, "it does not balance: 21 accepted"},
		{"a session is gone", func(t *testing.T, key, _ []byte, b *state.Batch) {
			b.Delete(byte(broker.TableSession), key)
		}, broker.TableSession, "a subscription belongs to session number 1, which does not exist"},
		{"a retained message that is not there", func(t *testing.T, key, _ []byte, b *state.Batch) {
			b.Put(byte(broker.TableRetained), []byte("a/b"), []byte{77, 1, 9, 1, 0})
		}, broker.TableCore, `the retained message of "a/b" is not there: there is no message at position 77`},
		{"an unknown table", func(t *testing.T, key, _ []byte, b *state.Batch) {
			b.Put('x', []byte("?"), nil)
		}, broker.TableCore, "which this version does not know"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := dataFolder(t)
			store, err := state.Open(state.Options{FS: vfs.Default, Dir: folder.StateDir(data)})
			if err != nil {
				t.Fatal(err)
			}
			b := store.NewBatch()
			err = store.Each(byte(test.tab), func(key, value []byte) error {
				test.edit(t, bytes.Clone(key), bytes.Clone(value), b)
				return nil
			})
			if err == nil {
				err = store.Commit(b, store.Meta())
			}
			if err == nil {
				err = store.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			try(t, "check", data).want(t, ExitDamaged, test.want)
		})
	}
}
