package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/holdfast-mqtt/holdfast/internal/inspect"
)

// syncEvery bounds how much of a copy the system has to write at once: a broker
// that syncs its journal meanwhile waits behind it.
const syncEvery = 8 << 20

// part is a file to copy.
type part struct {
	from   string
	to     string // from the new folder, with slashes
	bytes  int64  // so many from the start
	sha256 string // what it should be; "": not known
}

// copyAll copies parts into dir, durably but for the names, and says what they
// are.
func copyAll(ctx context.Context, dir string, parts []part, progress inspect.Progress) ([]File, error) {
	var total, done int64
	for _, p := range parts {
		total += p.bytes
	}
	var files []File
	for _, p := range parts {
		sum, err := p.copy(ctx, filepath.Join(dir, filepath.FromSlash(p.to)), func(n int64) {
			done += n
			progress("copying", done, total)
		})
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: p.to, Bytes: p.bytes, SHA256: sum})
	}
	return files, nil
}

// copy copies the file and gives its SHA-256.
func (p *part) copy(ctx context.Context, to string, did func(int64)) (sum string, err error) {
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return "", err
	}
	var unsynced int64
	sum, err = p.read(ctx, func(b []byte) error {
		_, err := out.Write(b)
		unsynced += int64(len(b))
		if err == nil && unsynced >= syncEvery {
			unsynced = 0
			err = out.Sync()
		}
		did(int64(len(b)))
		return err
	})
	if err == nil {
		err = out.Sync()
	}
	return sum, errors.Join(err, out.Close())
}

// read reads the file piece by piece and gives its SHA-256, which has to be the
// one that is known.
func (p *part) read(ctx context.Context, piece func([]byte) error) (sum string, err error) {
	in, err := os.Open(p.from)
	if err != nil {
		return "", err
	}
	defer in.Close()
	h := sha256.New()
	buf := make([]byte, min(1<<20, p.bytes))
	for n := int64(0); n < p.bytes; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		k, err := io.ReadFull(in, buf[:min(int64(len(buf)), p.bytes-n)])
		n += int64(k)
		if err != nil {
			return "", fmt.Errorf("read %s: %d of %d bytes are there: %w", p.from, n, p.bytes, err)
		}
		h.Write(buf[:k])
		if err := piece(buf[:k]); err != nil {
			return "", err
		}
	}
	sum = hex.EncodeToString(h.Sum(nil))
	if p.sha256 != "" && p.sha256 != sum {
		return "", fmt.Errorf("%s is damaged: its SHA-256 is not that of the manifest", p.from)
	}
	return sum, nil
}
