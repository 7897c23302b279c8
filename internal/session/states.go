package session

// State is how far a delivery got.
type State byte

// The states of a delivery. Waiting ones were perhaps sent, and the client has
// not answered.
const (
	Waiting  State = iota
	Received       // QoS 2: the client's PUBREC is recorded, PUBREL is due [MQTT-4.3.3-5]
	Done           // finished, dropped or expired; the head has not passed it yet
)

const stateMask, qosShift = 3, 2

// told marks a delivery whose PUBREL was sent on the connection of now before Take
// came to it.
const told = 16

// states is a ring of one byte per number from the head on: state and, on the
// connection it was sent on, the QoS, or told. Missing ones are Waiting.
type states struct {
	buf   []byte
	start int
	n     int
}

func (r *states) at(i int) byte {
	if i >= r.n {
		return 0
	}
	return r.buf[(r.start+i)&(len(r.buf)-1)]
}

func (r *states) set(i int, b byte) {
	for i >= r.n {
		r.push(0)
	}
	r.buf[(r.start+i)&(len(r.buf)-1)] = b
}

func (r *states) push(b byte) {
	if r.n == len(r.buf) {
		grown := make([]byte, max(8, 2*len(r.buf)))
		for i := range r.n {
			grown[i] = r.buf[(r.start+i)&(len(r.buf)-1)]
		}
		r.buf, r.start = grown, 0
	}
	r.buf[(r.start+r.n)&(len(r.buf)-1)] = b
	r.n++
}

func (r *states) pop() {
	if r.n == 0 {
		return
	}
	r.start = (r.start + 1) & (len(r.buf) - 1)
	r.n--
}

// skip pops k states at once.
func (r *states) skip(k uint64) {
	if k >= uint64(r.n) {
		r.n, r.start = 0, 0
		return
	}
	r.start = (r.start + int(k)) & (len(r.buf) - 1)
	r.n -= int(k)
}

// rest forgets what belongs to one connection and trims the end, so that an
// absent session keeps only what it must: often nothing.
func (r *states) rest() {
	for i := range r.n {
		r.buf[(r.start+i)&(len(r.buf)-1)] &= stateMask
	}
	for r.n > 0 && r.at(r.n-1) == byte(Waiting) {
		r.n--
	}
	if r.n == 0 {
		*r = states{}
	}
}
