package inspect

import (
	"errors"
	"fmt"

	"github.com/holdfast-mqtt/holdfast/internal/journal"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// Record is one record of the journal, as it is visited.
type Record struct {
	Pos     journal.Position
	Ext     journal.Extent // of the file it is in
	Stamp   journal.Stamp
	Kind    record.Kind
	Size    int             // bytes
	Message *record.Message // of a message; its bytes must not be kept
	Other   record.Record   // of any other record
	Err     error           // it does not decode
}

// Records visits all records of a journal in order, and what is wrong with the
// journal where it comes: reading goes on behind it. It is visit's error that
// ends it, or one of the file system.
func Records(src Source, visit func(*Record) error, found func(Finding)) error {
	var m record.Message
	var r Record
	_, err := journal.Inspect(journal.Inspection{
		Dir: src.Journal, Until: src.Until,
		Frame: func(pos journal.Position, ext journal.Extent, stamp journal.Stamp, body []byte) error {
			r = Record{Pos: pos, Ext: ext, Stamp: stamp, Kind: record.KindOf(body), Size: len(body)}
			if r.Kind == record.KindMessage {
				m, r.Err = record.ParseMessage(body)
				r.Message = &m
			} else if r.Other = record.New(r.Kind); r.Other != nil {
				r.Err = record.Parse(body, r.Other)
			} else {
				r.Err = record.ErrMalformed
			}
			return visit(&r)
		},
		Visit: func(e journal.VerifyEvent) {
			if f, ok := finding(&e); ok {
				found(f)
			}
		},
	})
	return err
}

// finding is an event in our words.
func finding(e *journal.VerifyEvent) (Finding, bool) {
	f := Finding{Path: e.Path, From: e.From, To: e.To}
	switch e.Kind {
	case journal.VerifyDamage:
		f.Kind, f.Detail = Damage, e.Err.Error()
		var corrupt *journal.CorruptError
		var missing *journal.MissingError
		if errors.As(e.Err, &missing) {
			f.Detail = missing.Detail
		} else if errors.As(e.Err, &corrupt) && corrupt.Path == e.Path {
			f.Detail = fmt.Sprintf("at offset %d of the file: %s", corrupt.Offset, corrupt.Detail)
		}
	case journal.VerifyTorn:
		f.Kind, f.Detail = Torn, "the end of a write that a crash interrupted, or zeros where the next would have been; it was never acknowledged, and the next start cuts it"
	case journal.VerifyMissing:
		f.Kind, f.Detail = Reclaimed, "no file holds these positions; that is right when nothing in them was needed any more"
	case journal.VerifyForeign:
		f.Kind, f.Detail = Foreign, "not a file of the journal; it is ignored"
	case journal.VerifyLeftover:
		f.Kind, f.Detail = Leftover, "an interrupted compaction left it unfinished; the next start removes it"
		if e.Err != nil {
			f.Detail = "an interrupted compaction left it, " + e.Err.Error() + "; the next start removes it"
		}
	default:
		return f, false
	}
	return f, true
}
