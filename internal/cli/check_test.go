package cli

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
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
	try(t, "check", data).want(t, ExitOK, "journal    1 file, ", "checkpoint ", data+": clean")
	try(t, "check", data, "--verbose").want(t, ExitOK, "segment    ")
	var r checkResult
	answer := try(t, "check", data, "--json")
	if err := json.Unmarshal([]byte(answer.out), &r); err != nil || answer.code != ExitOK {
		t.Fatalf("%v, exit code %d: %s", err, answer.code, answer.out)
	}
	if !r.Clean || r.Journal.Frames < 20 || !r.State.Checked || r.State.Entries == 0 || r.State.Applied != r.Journal.End || len(r.Findings) > 0 {
		t.Errorf("%+v", r)
	}
	after := content(t, data)
	for name := range after {
		if !bytes.Equal(before[name], after[name]) {
			t.Errorf("check changed %s", name)
		}
	}
	if len(before) != len(after) {
		t.Errorf("%d files before, %d after", len(before), len(after))
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
			change(t, filepath.Join(data, segment), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		}, "damage     "},
		{"the end is gone", func(t *testing.T, data string) {
			change(t, filepath.Join(data, segment), func(b []byte) []byte { return b[:len(b)/2] })
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
		}, "damage     " + string(filepath.Separator)},
		{"the checkpoint is gone", func(t *testing.T, data string) {
			if err := os.RemoveAll(filepath.Join(data, "state")); err != nil {
				t.Fatal(err)
			}
		}, "there is no checkpoint store"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := dataFolder(t)
			test.damage(t, data)
			try(t, "check", data).want(t, ExitDamaged, test.want, data+": DAMAGED in ")
			var r checkResult
			answer := try(t, "check", data, "--json")
			if err := json.Unmarshal([]byte(answer.out), &r); err != nil || answer.code != ExitDamaged || r.Clean || r.damages() == 0 {
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
