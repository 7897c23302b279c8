package client

import (
	"errors"
	"io"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// readBuffer is what one read of the connection takes at most, unless a packet
// is larger.
const readBuffer = 64 << 10

// Frames cuts a byte stream into packets: for those who want no packet that shares
// nothing with the stream, as [Conn.ReadPacket] gives it.
type Frames struct {
	r          io.Reader
	buf        []byte
	start, end int // buf[start:end] is not consumed yet
}

// Next gives the next complete packet that is buffered; ok is false when more
// has to be read. body is valid until Fill. The error is a *[packet.Error].
func (f *Frames) Next() (h packet.Header, body []byte, ok bool, err error) {
	h, whole, err := packet.ReadHeader(f.buf[f.start:f.end])
	if err != nil || !whole || f.end-f.start < h.Size+h.Length {
		return h, nil, false, err
	}
	body = f.buf[f.start+h.Size : f.start+h.Size+h.Length]
	f.start += h.Size + h.Length
	return h, body, true, nil
}

// complete gives the bytes of all complete packets that are buffered, and
// whether there is a PUBLISH among them. The error is about what comes after
// them.
func (f *Frames) complete() (b []byte, publish bool, err error) {
	from := f.start
	for {
		h, _, ok, err := f.Next()
		if err != nil || !ok {
			return f.buf[from:f.start], publish, err
		}
		publish = publish || h.Type == packet.PUBLISH
	}
}

// Fill reads once. An end of the stream inside a packet is io.ErrUnexpectedEOF.
func (f *Frames) Fill() error {
	switch {
	case f.start == f.end:
		f.start, f.end = 0, 0
		if len(f.buf) != readBuffer {
			f.buf = make([]byte, readBuffer) // also gives back the room of a large packet
		}
	case f.start > 0 && (f.end == len(f.buf) || f.start > len(f.buf)/2):
		f.end = copy(f.buf, f.buf[f.start:f.end])
		f.start = 0
	case f.end == len(f.buf):
		// A packet larger than the buffer: its room grows with what has come,
		// not with what its header announces.
		f.buf = append(f.buf, make([]byte, len(f.buf))...)
	}
	n, err := f.r.Read(f.buf[f.end:])
	f.end += n
	if n > 0 {
		return nil
	}
	if errors.Is(err, io.EOF) && f.end > f.start {
		return io.ErrUnexpectedEOF
	}
	return err
}
