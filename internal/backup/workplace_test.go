package backup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What a killed run leaves is no backup, and the next run takes its place; what
// another run is making is left alone.
func TestInterruptedRun(t *testing.T) {
	target := filepath.Join(t.TempDir(), "backup")
	w, err := newWorkplace(target)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "journal", "1.seg"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newWorkplace(target); err == nil || !strings.Contains(err.Error(), "by another process right now") {
		t.Errorf("a second run at the same time: %v", err)
	}
	w.lock.Release() // as the system does for a process that is killed
	var none *NotBackupError
	if _, err := Read(w.dir); !errors.As(err, &none) || !strings.Contains(err.Error(), "it was interrupted before it was whole") {
		t.Errorf("Read of what is left: %v", err)
	}
	w, err = newWorkplace(target)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(filepath.Join(w.dir, "journal")); err != nil || len(names) > 0 {
		t.Errorf("the next run begins with %v, %v", names, err)
	}
	if err := w.finish(); err != nil {
		t.Fatal(err)
	}
	if _, err := newWorkplace(target); err == nil || !strings.Contains(err.Error(), "exists and is not empty") {
		t.Errorf("over a folder that is there: %v", err)
	}
	if left, _ := filepath.Glob(target + ".*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// What is in the way and is not ours is not removed.
func TestForeignFolderInTheWay(t *testing.T) {
	target := filepath.Join(t.TempDir(), "backup")
	if err := os.MkdirAll(filepath.Join(target+".tmp", "holidays"), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := newWorkplace(target); err == nil || !strings.Contains(err.Error(), "is in the way") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(target+".tmp", "holidays")); err != nil {
		t.Error(err)
	}
}
