package crash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
)

// topicOf is the topic of a producer's messages.
func topicOf(producer string) string { return "crash/" + producer }

// allTopics is the filter of all of them.
const allTopics = "crash/+"

// payload is a message's number, a checksum and filling of some size.
func payload(producer string, number uint64, size int) []byte {
	b := make([]byte, 12, 12+size)
	binary.BigEndian.PutUint64(b, number)
	b = append(b, bytes.Repeat([]byte{byte(number)}, size)...)
	binary.BigEndian.PutUint32(b[8:], sum(producer, b))
	return b
}

func sum(producer string, b []byte) uint32 {
	s := crc32.ChecksumIEEE([]byte(producer))
	s = crc32.Update(s, crc32.IEEETable, b[:8])
	return crc32.Update(s, crc32.IEEETable, b[12:])
}

// parse gives back what payload was made of.
func parse(topic string, b []byte) (producer string, number uint64, err error) {
	producer, ok := strings.CutPrefix(topic, "crash/")
	if !ok {
		return "", 0, fmt.Errorf("topic %q", topic)
	}
	if len(b) < 12 {
		return "", 0, fmt.Errorf("payload of %d bytes", len(b))
	}
	if binary.BigEndian.Uint32(b[8:]) != sum(producer, b) {
		return "", 0, errors.New("the payload is not the one that was sent")
	}
	return producer, binary.BigEndian.Uint64(b), nil
}

// someSize is mostly small, sometimes some KiB, rarely large.
func someSize(r *rand.Rand) int {
	switch n := r.IntN(1000); {
	case n < 850:
		return r.IntN(200)
	case n < 995:
		return r.IntN(6 << 10)
	default:
		return r.IntN(300 << 10)
	}
}
