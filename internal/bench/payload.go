package bench

import (
	"encoding/binary"
	"math/rand/v2"
)

// A payload begins with the stream and the number of the message in it, and when
// it was sent. Streams are numbered over all publishers of a scenario; a
// publisher has one, or one for each kind of topic where a consumer gets only
// some of them.
//
//	stream u32 | number u32 | sent, ns since epoch, i64 | filling
const payloadMin = 16

// newPayload is a payload of size bytes whose filling does not compress.
func newPayload(size int) []byte {
	b := make([]byte, max(size, payloadMin))
	r := rand.NewChaCha8([32]byte{1})
	r.Read(b[payloadMin:])
	return b
}

func stamp(b []byte, stream, number uint32, at int64) {
	binary.BigEndian.PutUint32(b, stream)
	binary.BigEndian.PutUint32(b[4:], number)
	binary.BigEndian.PutUint64(b[8:], uint64(at))
}

func readStamp(b []byte) (stream, number uint32, at int64, ok bool) {
	if len(b) < payloadMin {
		return 0, 0, 0, false
	}
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), int64(binary.BigEndian.Uint64(b[8:])), true
}
