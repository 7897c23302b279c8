package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/backup"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/inspect"
)

// RestoreCmd makes a data folder of a backup.
type RestoreCmd struct {
	Backup     string `arg:"" placeholder:"BACKUP" help:"A folder that 'holdfast backup' has made."`
	Dir        string `arg:"" placeholder:"DIR" help:"The data folder to make. It must not exist, or be empty."`
	PauseClock bool   `help:"Do not count the time since the backup: sessions and messages live on with what they had left."`
}

// Help says what happens to time.
func (c *RestoreCmd) Help() string {
	return `The files are copied and compared with the backup's manifest, the copy is checked as
'holdfast check' does, and only then gets its name. The backup does not change.

Time. Expiry goes on as after any restart: the time between the backup and the next
start counts, for sessions and for messages (MQTT demands it). A session that would
have expired by then is over when the broker starts; the command says how many that
are. With --pause-clock the time until now does not count: for when the broker was
away, so that nobody could have come back.

What was delivered after the backup was made is delivered again, and what was published
after it is not there.`
}

// Run restores.
func (c *RestoreCmd) Run(ctx context.Context, s Streams) error {
	began := time.Now()
	shown := newProgress(s)
	m, report, err := backup.Restore(ctx, c.Backup, c.Dir, backup.RestoreOptions{PauseClock: c.PauseClock, Progress: shown.show})
	shown.end()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "backup      of %s, made by holdfast %s from %s\n", m.Taken.Format(time.RFC3339), m.Version, m.Source)
	fmt.Fprintf(s.Out, "copied      %s, %s, each as in the manifest\n", count(int64(len(m.Files)), "file", "files"), bytesText(m.Bytes))
	report.Findings = brief(report.Findings)
	report.Data = c.Dir
	if err := printCheck(s.Out, report, time.Since(began)); err != nil {
		return err
	}
	if err := c.sayExpiry(s); err != nil {
		return err
	}
	fmt.Fprintf(s.Out, "Start it: holdfast serve --data %s\n", c.Dir)
	if !report.Sound {
		return &ExitError{Code: ExitDamaged}
	}
	return nil
}

// sayExpiry says what a start would let expire now.
func (c *RestoreCmd) sayExpiry(s Streams) error {
	v, err := inspect.Open(inspect.Folder(c.Dir))
	if err != nil {
		return nil // it is damaged, and that was said
	}
	over, waiting := expiredBy(v, time.Now())
	if over > 0 {
		fmt.Fprintf(s.Out, "expiry      %s with %s will be over at the start: their time has passed since the backup.\n"+
			"            To keep them, restore with --pause-clock\n",
			count(over, "session", "sessions"), count(waiting, "waiting delivery", "waiting deliveries"))
	}
	return v.Close()
}

// expiredBy counts the sessions that a start at the given time would end, and what
// waits for them.
func expiredBy(v *inspect.View, at time.Time) (sessions, waiting int64) {
	clock := broker.Time(v.Stamp.Clock + max(at.UnixMilli()-v.Stamp.Wall, 0))
	v.Core.EachSession(func(st *broker.SessionState) bool {
		// One that is recorded as connected begins its rest at the start.
		if !st.Group && !st.Open && st.Expiry != broker.NeverExpires && st.ClosedAt+broker.Time(st.Expiry)*1000 <= clock {
			sessions++
			waiting += int64(st.Waiting)
		}
		return true
	})
	return sessions, waiting
}
