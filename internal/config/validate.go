package config

import (
	"fmt"
	"math"
	"path"
	"strings"
	"time"

	"github.com/holdfast-mqtt/holdfast/internal/listen"
)

// maxPacket is the largest packet that MQTT can write: a remaining length of
// 268,435,455 and its header.
const maxPacket = 256 * MiB

// validate says what is wrong with values that could be read. before are the
// errors found so far: a key among them is not judged again.
func (c *Config) validate(before Errors) Errors {
	var wrong Errors
	fail := func(path, format string, args ...any) {
		for _, e := range before {
			if e.Key == path {
				return
			}
		}
		where := c.origin[path]
		wrong = append(wrong, &Error{Where: where, Key: path, Problem: fmt.Sprintf(format, args...)})
	}

	if len(c.Listen) == 0 {
		fail("listen", "no address to listen on; write [\"127.0.0.1:1883\"]")
	}
	type place struct{ network, address string }
	seen, withTLS, withWebSocket := make(map[place]bool), false, false
	for _, text := range c.Listen {
		address, err := listen.Parse(text)
		switch {
		case err != nil:
			fail("listen", "%v", err)
			continue
		case seen[place{address.Network, address.Address}] && !strings.HasSuffix(address.Address, ":0"):
			fail("listen", "%q is there twice; leave one out", text)
		case !address.Local() && !c.AllowAnonymous && c.Auth.Passwords == "" && !(address.TLS && c.TLS.ClientCA != ""):
			fail("listen", "%q can be reached from other machines, and there is no authentication: anybody could read and publish; "+
				"listen on 127.0.0.1, or have clients say who they are with passwords (auth.passwords) or, over tls://, certificates (tls.client_ca), "+
				"or say that this is meant with --allow-anonymous or allow_anonymous = true", text)
		case !address.Local() && !address.TLS && c.Auth.Passwords != "":
			c.Warnings = append(c.Warnings, fmt.Sprintf("passwords cross the network to %q for everybody on the way to read; listen on tls:// or wss://", text))
		}
		seen[place{address.Network, address.Address}] = true
		withTLS, withWebSocket = withTLS || address.TLS, withWebSocket || address.WebSocket
	}
	if withTLS && c.TLS.Cert == "" {
		fail("tls.cert", "is missing, and there is a listener with TLS; name a PEM file with its certificate")
	}
	if withTLS && c.TLS.Key == "" {
		fail("tls.key", "is missing, and there is a listener with TLS; name a PEM file with the key of its certificate")
	}
	idle := func(path, write string, set bool) {
		if o := c.origin[path]; o != "" && set {
			c.Warnings = append(c.Warnings, fmt.Sprintf("%s (%s) has no effect without a listener for it; write %q in listen", path, o, write))
		}
	}
	idle("tls.cert", "tls://127.0.0.1:8883", !withTLS && c.TLS.Cert != "")
	idle("tls.client_ca", "tls://127.0.0.1:8883", !withTLS && c.TLS.ClientCA != "")
	idle("websocket.origins", "ws://127.0.0.1:8080", !withWebSocket && len(c.WebSocket.Origins) > 0)
	if _, err := listen.ParseProxies(c.Proxies); err != nil {
		fail("proxies", "%v", err)
	}
	if c.Auth.Certificate != NameNowhere && c.TLS.ClientCA == "" {
		fail("auth.certificate", "%q needs certificates of the clients; name the authorities that sign them with tls.client_ca", c.Auth.Certificate)
	}
	if c.Auth.ACL != "" && c.Auth.Passwords == "" && c.Auth.Certificate == NameNowhere {
		c.Warnings = append(c.Warnings, fmt.Sprintf("auth.acl (%s) knows nobody's name without auth.passwords or auth.certificate: "+
			"its lines before the first user and its patterns with %%c count, and no others", c.Origin("auth.acl")))
	}
	for _, origin := range c.WebSocket.Origins {
		if _, err := path.Match(origin, ""); err != nil {
			fail("websocket.origins", "%q is no pattern; write a host, with * for any part", origin)
		}
	}
	if c.Data == "" && c.Store == StoreDisk {
		fail("data", "no folder; name one, or keep nothing with store = \"memory\"")
	}
	if c.Sessions.Expiry == 0 {
		fail("sessions.expiry", "a persistent session that expires at once is none; write at least \"1s\"")
	}
	if c.Sessions.MaxExpiry == 0 {
		fail("sessions.max_expiry", "with 0s no MQTT 5 session could outlive its connection; write at least \"1s\"")
	}
	if c.Sessions.MaxInflight == 0 {
		fail("sessions.max_inflight", "with 0 nothing could be delivered; write 1 to 65535")
	}
	if c.Limits.ReceiveMaximum == 0 {
		fail("limits.receive_maximum", "with 0 nobody could publish; write 1 to 65535")
	}
	if s := c.Limits.MaxPacketSize; s < KiB || s > maxPacket {
		fail("limits.max_packet_size", "%v is out of range; write 1KiB to 256MiB", s)
	}
	if s := c.Limits.CleanSessions; s < MiB {
		fail("limits.clean_sessions", "%v is too little; write at least 1MiB", s)
	}
	if s := c.Limits.MaxControlSize; s < KiB || s > maxPacket {
		fail("limits.max_control_size", "%v is out of range; write 1KiB to 256MiB", s)
	}
	if s := c.Limits.UnreadAnswers; s < 16*KiB || s > GiB {
		fail("limits.unread_answers", "%v is out of range; write 16KiB to 1GiB", s)
	}
	for path, n := range map[string]uint64{"limits.connections": c.Limits.Connections,
		"limits.sessions": c.Limits.Sessions, "limits.subscriptions": c.Limits.Subscriptions} {
		if n > math.MaxInt32 {
			fail(path, "%d is out of range; write 1 to %d, or 0 for no limit", n, math.MaxInt32)
		}
	}
	if d := c.Limits.KeepAliveMax; d > 65535*time.Second || d%time.Second != 0 {
		fail("limits.keep_alive_max", "%s cannot be said in MQTT; write whole seconds up to 65535s, or 0s", FormatDuration(d))
	}
	if c.Limits.ConnectTimeout <= 0 {
		fail("limits.connect_timeout", "with 0s nobody could connect; write \"10s\"")
	}
	if c.Limits.RefuseGrace < time.Millisecond || c.Limits.RefuseGrace > time.Hour {
		fail("limits.refuse_grace", "%s is out of range; write 1ms to 1h", FormatDuration(c.Limits.RefuseGrace))
	}
	if s := c.Journal.SegmentSize; s < MiB || s > 4*GiB {
		fail("journal.segment_size", "%v is out of range; write 1MiB to 4GiB", s)
	}
	wrong = append(wrong, c.settleLimits()...)
	wrong = append(wrong, c.validateBridges()...)
	if c.Store == StoreMemory {
		for _, path := range []string{"data", "sync", "journal.segment_size"} {
			if o := c.origin[path]; o != "" {
				c.Warnings = append(c.Warnings, fmt.Sprintf("%s (%s) has no effect with store = \"memory\"", path, o))
			}
		}
	}
	return wrong
}
