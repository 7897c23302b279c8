package server

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/admin"
	"github.com/holdfast-mqtt/holdfast/internal/bridge"
	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// Bridge is a bridge to another broker.
type Bridge struct {
	Name   string // in the log, and of its session here: "bridge/NAME"
	Remote bridge.End
	Rules  []bridge.Rule

	Inflight      int  // see [bridge.Options]
	DropForbidden bool // see [bridge.Options]

	MaxPause time.Duration // see [bridge.Options]
}

// SessionID is the client identifier of the bridge's session in this broker.
func (b *Bridge) SessionID() string { return bridgeSessions + b.Name }

const (
	bridgeSessions = "bridge/"
	// bridgeUser is to whom the sessions of bridges belong where users are asked for. No
	// client can be it.
	bridgeUser = "$bridge"
)

// bridging are the bridges of a server.
type bridging struct {
	list []*bridge.Bridge
	ctx  context.Context // ends with them
	stop context.CancelFunc
	runs sync.WaitGroup
}

// newBridges checks the options of all bridges.
func (s *Server) newBridges() error {
	s.bridging.ctx, s.bridging.stop = context.WithCancel(context.Background())
	for i := range s.opt.Bridges {
		o := &s.opt.Bridges[i]
		b, err := bridge.New(bridge.Options{
			Local: bridge.End{
				Name: "this broker", Dial: s.Dial, ClientID: o.SessionID(), SessionExpiry: broker.NeverExpires,
			},
			Remote: o.Remote, Rules: o.Rules, Inflight: o.Inflight, DropForbidden: o.DropForbidden, MaxPause: o.MaxPause,
			Marked: func() bool { return s.marked(o.SessionID()) },
			Logger: s.log.With("bridge", o.Name),
		})
		if err != nil {
			return fmt.Errorf("bridge %q: %w", o.Name, err)
		}
		s.bridging.list = append(s.bridging.list, b)
	}
	return nil
}

// subscribed are the subscriptions of a session.
func (s *Server) subscribed(clientID string) (list []packet.Subscription) {
	s.Query(func(core *broker.Core) {
		for _, sub := range core.Subscriptions(clientID) {
			list = append(list, packet.Subscription{
				Filter: sub.Filter, QoS: sub.QoS, NoLocal: sub.NoLocal, RetainAsPublished: sub.RetainAsPublished, RetainHandling: sub.RetainHandling,
			})
		}
	})
	return list
}

// marked tells whether a session of a bridge has subscribed to the marker.
func (s *Server) marked(clientID string) bool {
	return slices.ContainsFunc(s.subscribed(clientID), func(sub packet.Subscription) bool { return sub.Filter == bridge.Marker })
}

// startBridges has messages wait for the bridges from now on, and starts them.
func (s *Server) startBridges(ctx context.Context) {
	for i, b := range s.bridging.list {
		b.Had(s.subscribed(s.opt.Bridges[i].SessionID()))
		if err := b.Prepare(ctx); err != nil {
			s.log.Error("messages do not wait for a bridge yet; that is tried again", "bridge", s.opt.Bridges[i].Name, "error", err)
		}
	}
	for _, b := range s.bridging.list {
		s.bridging.runs.Go(func() { b.Run(s.bridging.ctx) })
	}
}

// Bridges tells how the bridges are, in the order of the options.
func (s *Server) Bridges() (list []admin.Bridge) {
	for i, b := range s.bridging.list {
		o, st := &s.opt.Bridges[i], b.State()
		x := admin.Bridge{Name: o.Name, Remote: o.Remote.Name, Session: o.SessionID(), Connected: st.Connected, Since: st.Since.UTC(), Problem: st.Problem,
			Out: passed(st.Out), In: passed(st.In)}
		s.Query(func(core *broker.Core) {
			if info, ok := core.Session(o.SessionID()); ok {
				x.Waiting = info.Waiting
			}
		})
		list = append(list, x)
	}
	return list
}

func passed(c bridge.Counts) admin.Passed {
	return admin.Passed{Sent: c.Passed, Acked: c.Settled, Refused: c.Refused, GivenUp: c.Hopeless, Unwanted: c.Strange}
}

// end ends the bridges in order. What has not passed waits.
func (b *bridging) end() {
	if b.stop != nil { // as it is in tests
		b.stop()
	}
	b.runs.Wait()
}

// inside is the broker's end of a connection that a part of its own program has made.
type inside struct{ net.Conn }

// Dial connects a part of this program to the broker, in memory. Nobody asks who it is, and it
// may publish and subscribe to everything.
func (s *Server) Dial(context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	s.serve(inside{theirs}, "inside")
	return ours, nil
}
