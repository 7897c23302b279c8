package damage

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
)

// A damage is one thing that may have happened to a data folder, and what must come of
// it. The words are those of docs/failure-model.md.
type damage struct {
	name  string
	where string // heading of the table that it belongs to
	do    func(f *folder)

	happens string // what a start does
	says    string // what check says

	refuse  string                // the start is refused, and says this
	accept  bool                  // start with AcceptLoss
	torn    func(f *folder) []int // messages that were never promised, as far as anybody can tell
	damaged func(f *folder) []int // messages that go to the ledger of each session
	gap     func(f *folder) []int // messages that are in no account, with the gap named
	rebuilt bool                  // the checkpoint is set aside
	reborn  bool                  // sessions are lost
	check   string                // part of what check prints
	clean   bool                  // check finds no damage
	log     string                // part of what the broker logs at the start
}

func one(n int) func(*folder) []int { return func(*folder) []int { return []int{n} } }

// old and new are a segment in the middle of what the checkpoint knows, and of what it
// does not.
func old(f *folder) int { return f.old / 2 }
func fresh(f *folder) int {
	return (f.old + f.newest()) / 2
}

func inOld(f *folder) []int    { return f.in(old(f)) }
func inFresh(f *folder) []int  { return f.in(fresh(f)) }
func inNewest(f *folder) []int { return f.in(f.newest()) }

// behind are the messages of a segment from its third on.
func behind(list []int) []int { return list[2:] }

// behindCheckpoint removes the files that have what the checkpoint has not seen, and the
// one before them.
func behindCheckpoint(f *folder) {
	for i := f.old - 1; i <= f.newest(); i++ {
		f.remove(f.segment(i))
	}
}

const (
	head    = 48 // of a batch; each message has one of its own
	segHead = 64
)

const (
	newestTorn = "the end of the newest file"
	known      = "what the checkpoint has seen"
	unknown    = "what the checkpoint has not seen"
	checkpoint = "the checkpoint store"
	strange    = "files that do not belong"
)

var damages = []damage{
	{name: "nothing", where: newestTorn, do: func(*folder) {},
		happens: "it starts", says: "sound", check: "is sound", clean: true},
	{name: "the last batch is torn", where: newestTorn,
		do:      func(f *folder) { m := f.messages[last]; f.truncate(m.path, m.off+m.size/2) },
		happens: "it is cut: a batch that is not whole was not acknowledged", says: "torn, and sound",
		torn: one(last), check: "torn  ", clean: true},
	{name: "the last batch is zeros", where: newestTorn,
		do:      func(f *folder) { m := f.messages[last]; f.zero(m.path, m.off-head, 1<<30) },
		happens: "it is cut", says: "torn, and sound",
		torn: one(last), check: "torn  ", clean: true},
	{name: "zeros from the middle of the newest file on", where: newestTorn,
		do:      func(f *folder) { m := f.messages[inNewest(f)[2]]; f.zero(m.path, m.off-head, 1<<30) },
		happens: "it is cut: nothing that is left tells that there was more. No disk that keeps what fdatasync promised does this", says: "torn, and sound",
		torn: func(f *folder) []int { return behind(inNewest(f)) }, check: "torn  ", clean: true},
	{name: "the newest file is missing", where: newestTorn,
		do:      func(f *folder) { f.remove(f.segment(f.newest())) },
		happens: "refused: the end of the file before it tells that there was one, and somebody may have it", says: "damage: no such file is there",
		refuse: "put the missing files back", check: "no such file is there"},
	{name: "the newest file is missing, and --accept-loss", where: newestTorn, accept: true,
		do:      func(f *folder) { f.remove(f.segment(f.newest())) },
		happens: "a gap; positions go on far behind it", says: "damage: no such file is there",
		gap: inNewest, check: "no such file is there"},
	{name: "the newest file is empty", where: newestTorn,
		do:      func(f *folder) { f.truncate(f.segment(f.newest()), 0) },
		happens: "the same as if it were missing", says: "damage: nothing is in it",
		refuse: "put the missing files back", check: "nothing is in it"},
	{name: "a new file that died at birth", where: newestTorn,
		do: func(f *folder) {
			f.write("journal/0000000000000999.seg", []byte("HOLDFAST"))
		},
		happens: "it is removed", says: "torn, and sound", check: "torn  ", clean: true},

	{name: "a bit of a payload flips", where: known,
		do:      func(f *folder) { m := f.messages[9]; f.flip(m.path, m.off+m.size/2) },
		happens: "that message is damaged in the ledger of each session that waits for it", says: "damage, with file and positions",
		damaged: one(9), check: "a frame's checksum does not match"},
	{name: "a bit of a frame's header flips", where: known,
		do:      func(f *folder) { m := f.messages[9]; f.flip(m.path, m.off+5) },
		happens: "the same", says: "damage", damaged: one(9), check: "damage"},
	{name: "a bit of a batch header flips", where: known,
		do:      func(f *folder) { m := f.messages[9]; f.flip(m.path, m.off-head+9) },
		happens: "nothing is lost: messages are found by position, and have checksums of their own", says: "damage",
		check: "a batch header's checksum does not match"},
	{name: "a bit of a file header flips", where: known,
		do:      func(f *folder) { f.flip(f.segment(old(f)), 20) },
		happens: "nothing is lost: the first batch tells the position too", says: "damage",
		check: "the header's checksum does not match"},
	{name: "zeros in the middle", where: known,
		do: func(f *folder) {
			list := inOld(f)
			a, b := f.messages[list[2]], f.messages[list[4]]
			f.zero(a.path, a.off-head, b.off+b.size)
		},
		happens: "each message in it is damaged in the ledgers", says: "damage",
		damaged: func(f *folder) []int { return inOld(f)[2:5] }, check: "zeros where a batch should start"},
	{name: "a file is cut short", where: known,
		do:      func(f *folder) { m := f.messages[inOld(f)[2]]; f.truncate(m.path, m.off+10) },
		happens: "each message behind the cut is damaged in the ledgers", says: "damage",
		damaged: func(f *folder) []int { return behind(inOld(f)) }, check: "it ends at position"},
	{name: "a file is empty", where: known,
		do:      func(f *folder) { f.truncate(f.segment(old(f)), 0) },
		happens: "each message in it is damaged in the ledgers", says: "damage",
		damaged: inOld, check: "its header alone has 64"},
	{name: "a file in the middle is missing", where: known,
		do:      func(f *folder) { f.remove(f.segment(old(f))) },
		happens: "it starts, and names the file and how many deliveries need it; they are damaged in the ledgers when their turn comes, so the file can still be put back", says: "reference: which deliveries of which sessions are missing",
		log: "a journal file is missing", damaged: inOld, check: "deliveries, numbers"},
	{name: "the first file is missing", where: known,
		do:      func(f *folder) { f.remove(f.segment(0)) },
		happens: "the same", says: "the same", log: "a journal file is missing",
		damaged: func(f *folder) []int { return f.in(0) }, check: "deliveries, numbers"},
	{name: "all files behind the checkpoint's position are missing", where: known,
		do:      behindCheckpoint,
		happens: "refused: somebody may have them. This is also the newest file missing after an end in order", says: "damage: no file holds these positions",
		refuse: "put the missing files back", check: "no journal file holds these positions"},
	{name: "all files behind the checkpoint's position are missing, and --accept-loss", where: known, accept: true,
		do:      behindCheckpoint,
		happens: "it starts: the state is in the checkpoint; messages in the missing files are damaged in the ledgers, and what the checkpoint had not seen is a gap", says: "damage: no file holds these positions",
		damaged: func(f *folder) []int {
			return slices.DeleteFunc(slices.Concat(f.in(f.old-1), f.in(f.old)), func(n int) bool { return n > applied })
		},
		gap: func(f *folder) []int { return span(applied+1, last) }, check: "no journal file holds these positions"},

	{name: "a bit of a payload flips", where: unknown,
		do:      func(f *folder) { m := f.messages[100]; f.flip(m.path, m.off+m.size/2) },
		happens: "a gap: that record is lost, and named", says: "damage, with file and positions",
		gap: one(100), check: "a frame's checksum does not match"},
	{name: "a bit of a batch header flips", where: unknown,
		do:      func(f *folder) { m := f.messages[100]; f.flip(m.path, m.off-head+9) },
		happens: "a gap of that batch", says: "damage", gap: one(100), check: "a batch header's checksum does not match"},
	{name: "a bit of a file header flips", where: unknown,
		do:      func(f *folder) { f.flip(f.segment(fresh(f)), 20) },
		happens: "nothing is lost", says: "damage", check: "the header's checksum does not match"},
	{name: "zeros in the middle", where: unknown,
		do: func(f *folder) {
			list := inFresh(f)
			a, b := f.messages[list[2]], f.messages[list[4]]
			f.zero(a.path, a.off-head, b.off+b.size)
		},
		happens: "a gap", says: "damage",
		gap: func(f *folder) []int { return inFresh(f)[2:5] }, check: "zeros where a batch should start"},
	{name: "zeros in the newest file, and good batches behind them", where: unknown,
		do: func(f *folder) {
			list := inNewest(f)
			a, b := f.messages[list[2]], f.messages[list[3]]
			f.zero(a.path, a.off-head, b.off+b.size)
		},
		happens: "a gap: the batches behind it tell that it was on the disk", says: "damage",
		gap: func(f *folder) []int { return inNewest(f)[2:4] }, check: "zeros where a batch should start"},
	{name: "a file is cut short", where: unknown,
		do:      func(f *folder) { m := f.messages[inFresh(f)[2]]; f.truncate(m.path, m.off+10) },
		happens: "a gap to the end of the file", says: "damage",
		gap: func(f *folder) []int { return behind(inFresh(f)) }, check: "it ends at position"},
	{name: "a file is empty", where: unknown,
		do:      func(f *folder) { f.truncate(f.segment(fresh(f)), 0) },
		happens: "a gap", says: "damage", gap: inFresh, check: "its header alone has 64"},
	{name: "a file in the middle is missing", where: unknown,
		do:      func(f *folder) { f.remove(f.segment(fresh(f))) },
		happens: "refused: somebody may have the file", says: "damage: no file holds these positions",
		refuse: "put the missing files back", check: "no journal file holds these positions"},
	{name: "a file in the middle is missing, and --accept-loss", where: unknown, accept: true,
		do:      func(f *folder) { f.remove(f.segment(fresh(f))) },
		happens: "a gap", says: "damage: no file holds these positions",
		gap: inFresh, check: "no journal file holds these positions"},
	{name: "the whole journal is missing", where: unknown,
		do:      func(f *folder) { f.remove("journal"); f.mkdir("journal") },
		happens: "refused", says: "damage: no file holds these positions",
		refuse: "put the missing files back", check: "after the last file"},

	{name: "a table (.sst) has a wrong bit", where: checkpoint,
		do:      func(f *folder) { f.flip(f.state("*.sst"), 40) },
		happens: "the store is set aside, and made again from a journal that has everything", says: "damage: what is wrong with the store",
		rebuilt: true, check: "damage"},
	{name: "a table is missing", where: checkpoint,
		do:      func(f *folder) { f.remove(f.state("*.sst")) },
		happens: "the same", says: "damage", rebuilt: true, check: "damage"},
	{name: "the manifest has a wrong bit", where: checkpoint,
		do:      func(f *folder) { f.flip(f.state("MANIFEST-*"), 20) },
		happens: "the same", says: "damage", rebuilt: true, check: "damage"},
	{name: "the manifest's last change has a wrong bit", where: checkpoint,
		do: func(f *folder) {
			f.edit(f.state("MANIFEST-*"), func(b []byte) []byte { b[len(b)-1] ^= 4; return b })
		},
		happens: "the same; Pebble alone would have taken it for a torn end, and begun with the tables of before", says: "damage", rebuilt: true, check: "damage"},
	{name: "the manifest is empty", where: checkpoint,
		do:      func(f *folder) { f.truncate(f.state("MANIFEST-*"), 0) },
		happens: "the same", says: "damage", rebuilt: true, check: "damage"},
	{name: "the manifest is missing", where: checkpoint,
		do:      func(f *folder) { f.remove(f.state("MANIFEST-*")) },
		happens: "the same", says: "damage", rebuilt: true, check: "damage"},
	{name: "the marker of the manifest is missing", where: checkpoint,
		do:      func(f *folder) { f.remove(f.state("marker.manifest.*")) },
		happens: "the same; Pebble alone would have begun anew and deleted the tables", says: "damage", rebuilt: true, check: "damage"},
	{name: "the log (.log) has a wrong bit", where: checkpoint,
		do:      func(f *folder) { f.flip(f.state("*.log"), 30) },
		happens: "the checkpoint before it counts, and more journal is applied; or set aside and made again", says: "sound, or damage",
		check: ""},
	{name: "OPTIONS is damaged", where: checkpoint,
		do:      func(f *folder) { f.truncate(f.state("OPTIONS-*"), 10) },
		happens: "nothing: the file is for people, and written anew", says: "sound", check: "is sound", clean: true},
	{name: "the folder of the store is missing", where: checkpoint,
		do:      func(f *folder) { f.remove("state") },
		happens: "made again from a journal that has everything", says: "damage: there is no checkpoint store", check: "there is no checkpoint store"},
	{name: "the store is damaged, and the journal was reclaimed in part", where: checkpoint,
		do:      func(f *folder) { f.flip(f.state("*.sst"), 40); f.remove(f.segment(0)) },
		happens: "refused, and nothing is changed: sessions are only in the store", says: "damage",
		refuse: "restore journal and checkpoint from the same backup", check: "damage"},
	{name: "the store is damaged, the journal was reclaimed in part, and --accept-loss", where: checkpoint, accept: true,
		do:      func(f *folder) { f.flip(f.state("*.sst"), 40); f.remove(f.segment(0)) },
		happens: "it starts with what the journal has: retained messages, no sessions", says: "damage",
		rebuilt: true, reborn: true, gap: func(f *folder) []int { return nil }, check: "damage"},
	{name: "the store is of a newer version", where: checkpoint,
		do:      newerStore,
		happens: "refused, and nothing is changed", says: "cannot be checked, of a newer version",
		refuse: "this program knows up to 1", check: "newer"},

	{name: "a journal file of a newer version", where: strange,
		do: func(f *folder) {
			f.edit(f.segment(old(f)), func(b []byte) []byte { binary.LittleEndian.PutUint32(b[8:], 99); return b })
		},
		happens: "refused, and nothing is changed", says: "cannot be checked, of a newer version",
		refuse: "format version 99", check: "format version 99"},
	{name: "a file that is not ours in the journal's folder", where: strange,
		do:      func(f *folder) { f.write("journal/notes.txt", []byte("hello")) },
		happens: "ignored, with a line in the log", says: "foreign, and sound", check: "foreign", clean: true},
	{name: "a file with a segment's name that is none", where: strange,
		do: func(f *folder) {
			f.write(f.segment(fresh(f)), []byte("this is not a journal, it only has the name of one of its files....."))
		},
		happens: "a gap where the segment was", says: "damage", gap: inFresh, check: "does not start with HOLDFAST"},
	{name: "a directory with a segment's name", where: strange,
		do:      func(f *folder) { f.remove(f.segment(fresh(f))); f.mkdir(f.segment(fresh(f))) },
		happens: "refused", says: "cannot be checked",
		refuse: "is a directory", check: "is a directory"},
	{name: "a segment that may not be read", where: strange,
		do: func(f *folder) {
			if os.Geteuid() == 0 {
				f.t.Skip("root may read everything")
			}
			if err := os.Chmod(f.path(f.segment(fresh(f))), 0); err != nil {
				f.t.Fatal(err)
			}
		},
		happens: "refused", says: "cannot be checked", refuse: "permission denied", check: "permission denied"},
	{name: "a copy of a segment under another name", where: strange,
		do: func(f *folder) {
			b, err := os.ReadFile(f.path(f.segment(old(f))))
			if err != nil {
				f.t.Fatal(err)
			}
			f.write("journal/0000000000000999.seg", b)
		},
		happens: "refused: new files would come to have its name", says: "cannot be checked",
		refuse: "move it elsewhere", check: "move it elsewhere"},
	{name: "two segments have each other's names", where: strange,
		do: func(f *folder) {
			a, b := f.path(f.segment(fresh(f))), f.path(f.segment(old(f)))
			for _, step := range [][2]string{{a, a + "x"}, {b, a}, {a + "x", b}} {
				if err := os.Rename(step[0], step[1]); err != nil {
					f.t.Fatal(err)
				}
			}
		},
		happens: "refused", says: "cannot be checked",
		refuse: "its header says", check: "its header says"},
}

func (f *folder) write(name string, b []byte) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), b, 0o640); err != nil {
		f.t.Fatal(err)
	}
}

func (f *folder) mkdir(name string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Join(f.dir, name), 0o750); err != nil {
		f.t.Fatal(err)
	}
}
