package broker

// walked is a list that is walked over, a part at a time, while sessions come and go:
// those before at are done. Each session knows its place in it.
type walked struct {
	list []*Session
	at   int
}

// leave takes out the one at place i; moved tells others of their new places. One that is
// done takes the place of one that is done, so that none is passed over.
func (w *walked) leave(i int, moved func(s *Session, place int)) {
	move := func(from, to int) {
		if from != to {
			w.list[to] = w.list[from]
			moved(w.list[to], to)
		}
	}
	last := len(w.list) - 1
	if i < w.at {
		w.at--
		move(w.at, i)
		i = w.at
	}
	move(last, i)
	w.list[last] = nil
	w.list = w.list[:last]
}
