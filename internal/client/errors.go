package client

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// The ways in which a call or a token fails without a word from the broker.
var (
	// ErrClosed: Close or Abort was called.
	ErrClosed = errors.New("the client is closed")
	// ErrConnectionLost: the connection ended while a QoS 0 message was being
	// sent; nobody knows whether it arrived.
	ErrConnectionLost = errors.New("connection lost while sending a message at QoS 0")
	// ErrBrokerClosed: the broker ended the connection without a word, as one has to before
	// MQTT 5.
	ErrBrokerClosed = errors.New("the broker closed the connection")
	// ErrKeepAlive: nothing came from the broker for one and a half times the
	// keep alive interval, not even an answer to PINGREQ.
	ErrKeepAlive = errors.New("the broker is silent: nothing came within 1.5 times the keep alive interval")
)

// ConnectError is a connection that could not be made. Err says why: a
// [ReasonError] when the broker answered, else what the network said.
type ConnectError struct {
	Addr string
	Err  error
}

func (e *ConnectError) Error() string {
	err := e.Err
	// What the network says names the address again, and the system call.
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" && dial.Err != nil {
		err = dial.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	if e.Addr == "" {
		return fmt.Sprintf("connect: %v", err)
	}
	return fmt.Sprintf("connect to %s: %v", e.Addr, err)
}

// Unwrap gives Err.
func (e *ConnectError) Unwrap() error { return e.Err }

// ReasonError is a refusal by the broker, or by this client because the broker
// said in CONNACK that it would refuse.
type ReasonError struct {
	Packet packet.Type   // the packet that carried it: CONNACK, PUBACK, PUBREC, SUBACK, DISCONNECT...
	Code   packet.Reason // the reason code, as MQTT 5 has it
	Text   string        // the broker's reason string, if any
	About  string        // the topic filter, for SUBACK and UNSUBACK
	Server string        // the other server to use, with UseAnotherServer and ServerMoved
}

func (e *ReasonError) Error() string {
	s := fmt.Sprintf("refused by the broker in %s: %s (0x%02X)", typeName(e.Packet), e.Code, byte(e.Code))
	if e.About != "" {
		s += fmt.Sprintf(", topic filter %q", e.About)
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	if e.Server != "" {
		s += ": use " + e.Server
	}
	return s
}

// Temporary says whether the same may succeed later: the quota is exceeded
// (0x97), the broker is busy, unavailable or shutting down, the rate is too
// high.
func (e *ReasonError) Temporary() bool {
	switch e.Code {
	case packet.QuotaExceeded, packet.ServerBusy, packet.ServerUnavailable, packet.ServerShuttingDown,
		packet.MessageRateTooHigh, packet.ConnectionRateExceeded:
		return true
	}
	return false
}

// Refused gives the reason code in err, if the broker said one.
func Refused(err error) (packet.Reason, bool) {
	var e *ReasonError
	if errors.As(err, &e) {
		return e.Code, true
	}
	return 0, false
}

// final says whether connecting again would be wrong or useless after err.
func final(err error) bool {
	var e *ReasonError
	if !errors.As(err, &e) {
		return errors.Is(err, ErrClosed)
	}
	switch e.Code {
	case packet.UnsupportedProtocolVersion, packet.ClientIDNotValid, packet.BadUsernameOrPassword,
		packet.NotAuthorized, packet.Banned, packet.BadAuthenticationMethod, packet.UseAnotherServer,
		packet.ServerMoved, packet.PacketTooLarge, packet.RetainNotSupported, packet.QoSNotSupported:
		return true
	case packet.SessionTakenOver:
		// Somebody else has our client id: coming back would take it from them,
		// and they would come back too.
		return true
	}
	return false
}

// typeName is the standard's name of t.
func typeName(t packet.Type) string {
	names := [...]string{"packet type 0", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
		"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("packet type %d", t)
}
