package packet

import (
	"errors"
	"strings"
	"testing"
)

// What the standard forbids, with the reason code it is refused with. The
// statements are those of MQTT 5 where the version is 5, else of 3.1.1.
var refusals = []struct {
	name string
	v    Version
	wire string
	code Reason
	says string // part of Detail
}{
	// Fixed header
	{"type 0", V311, `00 00`, MalformedPacket, "type 0"},
	{"CONNECT flags [MQTT-2.2.2-2]", V311, `11 00`, MalformedPacket, "flags"},
	{"PUBACK flags [MQTT-2.2.2-2]", V311, `42 02 0001`, MalformedPacket, "flags"},
	{"PUBREL flags [MQTT-3.6.1-1]", V311, `60 02 0001`, MalformedPacket, "flags"},
	{"PUBREL again in 3.1.1 [MQTT-3.6.1-1]", V311, `6A 02 0001`, MalformedPacket, "flags"},
	{"SUBSCRIBE flags [MQTT-3.8.1-1]", V5, `80 06 0001 0001 'a' 00`, MalformedPacket, "flags"},
	{"SUBSCRIBE again in 5 [MQTT-3.8.1-1]", V5, `8A 07 0001 00 0001 'a' 00`, MalformedPacket, "flags"},
	{"UNSUBSCRIBE flags [MQTT-3.10.1-1]", V5, `A0 06 0001 00 0001 'a'`, MalformedPacket, "flags"},
	{"DISCONNECT flags [MQTT-3.14.1-1]", V5, `E1 00`, MalformedPacket, "flags"},
	{"AUTH flags [MQTT-3.15.1-1]", V5, `F1 00`, MalformedPacket, "flags"},
	{"length of 5 bytes", V5, `30 80 80 80 80 01`, MalformedPacket, "remaining length"},
	{"length not minimal [MQTT-1.5.5-1]", V5, `C0 80 00`, MalformedPacket, "remaining length"},

	// CONNECT
	{"protocol name [MQTT-3.1.2-1]", V311, `10 0C 0004 'MQTX' 04 02 0000 0000`, UnsupportedProtocolVersion, "name"},
	{"protocol level 6 [MQTT-3.1.2-2]", V311, `10 0D 0004 'MQTT' 06 02 0000 00 0000`, UnsupportedProtocolVersion, "level 6"},
	{"MQTT 3", V311, `10 0C 0004 'MQTT' 03 02 0000 0000`, UnsupportedProtocolVersion, "level 3"},
	{"MQIsdp 4", V311, `10 0E 0006 'MQIsdp' 04 02 0000 0000`, UnsupportedProtocolVersion, "level 4"},
	{"reserved connect flag [MQTT-3.1.2-3]", V311, `10 0C 0004 'MQTT' 04 03 0000 0000`, MalformedPacket, "reserved"},
	{"will QoS without will [MQTT-3.1.2-11]", V311, `10 0C 0004 'MQTT' 04 0A 0000 0000`, MalformedPacket, "will"},
	{"will retain without will [MQTT-3.1.2-13]", V5, `10 0D 0004 'MQTT' 05 22 0000 00 0000`, MalformedPacket, "will"},
	{"will QoS 3 [MQTT-3.1.2-12]", V5, `10 0D 0004 'MQTT' 05 1E 0000 00 0000`, MalformedPacket, "will QoS"},
	{"will QoS 3 in 3.1", V31, `10 0E 0006 'MQIsdp' 03 1E 0000 0000`, MalformedPacket, "will QoS"},
	{"password without user name [MQTT-3.1.2-22]", V311, `10 0F 0004 'MQTT' 04 42 0000 0000 0001 'p'`, MalformedPacket, "user name"},
	{"no client identifier [MQTT-3.1.3-3]", V311, `10 0A 0004 'MQTT' 04 02 0000`, MalformedPacket, "client identifier"},
	{"client identifier not UTF-8 [MQTT-3.1.3-4]", V311, `10 0D 0004 'MQTT' 04 02 0000 0001 FF`, MalformedPacket, "client identifier is not UTF-8"},
	{"client identifier with U+0000 [MQTT-1.5.3-2]", V311, `10 0D 0004 'MQTT' 04 02 0000 0001 00`, MalformedPacket, "U+0000"},
	{"surrogate [MQTT-1.5.3-1]", V311, `10 0F 0004 'MQTT' 04 02 0000 0003 EDA080`, MalformedPacket, "UTF-8"},
	{"user name not UTF-8 [MQTT-3.1.3-12]", V5, `10 10 0004 'MQTT' 05 82 0000 00 0000 0001 C0`, MalformedPacket, "user name"},
	{"user name missing [MQTT-3.1.2-19]", V311, `10 0C 0004 'MQTT' 04 82 0000 0000`, MalformedPacket, "user name"},
	{"user name not announced [MQTT-3.1.2-18]", V311, `10 0F 0004 'MQTT' 04 02 0000 0000 0001 'u'`, MalformedPacket, "left after its end"},
	{"will topic not UTF-8 [MQTT-3.1.3-11]", V5, `10 13 0004 'MQTT' 05 06 0000 00 0000 00 0001 FF 0000`, MalformedPacket, "will topic"},
	{"will topic with wildcard", V5, `10 13 0004 'MQTT' 05 06 0000 00 0000 00 0001 '#' 0000`, TopicNameInvalid, "wildcard"},
	{"will topic empty [MQTT-4.7.3-1]", V5, `10 12 0004 'MQTT' 05 06 0000 00 0000 00 0000 0000`, TopicNameInvalid, "empty"},
	{"will without payload [MQTT-3.1.2-9]", V311, `10 0F 0004 'MQTT' 04 06 0000 0000 0001 't'`, MalformedPacket, "will payload"},
	{"will response topic with wildcard", V5, `10 17 0004 'MQTT' 05 06 0000 00 0000 04 08 0001 '+' 0001 't' 0000`, ProtocolError, "wildcard"},
	{"receive maximum 0", V5, `10 10 0004 'MQTT' 05 02 0000 03 21 0000 0000`, ProtocolError, "receive maximum"},
	{"maximum packet size 0", V5, `10 12 0004 'MQTT' 05 02 0000 05 27 00000000 0000`, ProtocolError, "maximum packet size"},
	{"request problem information 2", V5, `10 0F 0004 'MQTT' 05 02 0000 02 17 02 0000`, ProtocolError, "request problem"},
	{"authentication data alone", V5, `10 10 0004 'MQTT' 05 02 0000 03 16 0000 0000`, ProtocolError, "without a method"},
	{"properties longer than packet", V5, `10 0D 0004 'MQTT' 05 02 0000 7F 0000`, MalformedPacket, "properties"},
	{"property length not minimal", V5, `10 0E 0004 'MQTT' 05 02 0000 8000 0000`, MalformedPacket, "shortest"},
	{"property cut by its block", V5, `10 0F 0004 'MQTT' 05 02 0000 02 11 00 0000`, MalformedPacket, "session expiry interval needs 4 bytes, 1 are left"},
	{"unknown property", V5, `10 0F 0004 'MQTT' 05 02 0000 02 7E 00 0000`, MalformedPacket, "no property 126"},

	// CONNACK
	{"connack flags [MQTT-3.2.2-1]", V311, `20 02 02 00`, MalformedPacket, "flags"},
	{"connack return code 6", V311, `20 02 00 06`, ProtocolError, "return code 6"},
	{"connack reason code [MQTT-3.2.2-8]", V5, `20 03 00 8E 00`, ProtocolError, "0x8E"},
	{"session in a refusal [MQTT-3.2.2-6]", V5, `20 03 01 87 00`, ProtocolError, "session present"},
	{"connack without properties [MQTT-2.2.2-1]", V5, `20 02 00 00`, MalformedPacket, "properties"},
	{"connack receive maximum 0", V5, `20 06 00 00 03 21 0000`, ProtocolError, "receive maximum"},
	{"connack maximum packet size 0", V5, `20 08 00 00 05 27 00000000`, ProtocolError, "maximum packet size"},
	{"connack maximum QoS 2", V5, `20 05 00 00 02 24 02`, ProtocolError, "maximum QoS"},
	{"connack too long", V311, `20 03 00 00 00`, MalformedPacket, "left"},

	// PUBLISH
	{"publish QoS 3 [MQTT-3.3.1-4]", V311, `36 05 0001 't' 0001`, MalformedPacket, "QoS"},
	{"publish DUP at QoS 0 [MQTT-3.3.1-2]", V311, `38 03 0001 't'`, MalformedPacket, "DUP"},
	{"publish empty", V311, `30 00`, MalformedPacket, "topic name"},
	{"publish topic cut", V311, `30 03 0002 't'`, MalformedPacket, "topic name"},
	{"publish topic not UTF-8 [MQTT-3.3.2-1]", V311, `30 04 0002 C328`, MalformedPacket, "UTF-8"},
	{"publish topic with U+0000 [MQTT-4.7.3-2]", V311, `30 0A 0008 'abcdefg' 00`, MalformedPacket, "U+0000"},
	{"publish topic with + [MQTT-3.3.2-2]", V5, `30 0B 0008 'abc/+/de' 00`, TopicNameInvalid, "wildcard"},
	{"publish topic with # [MQTT-3.3.2-2]", V5, `30 06 0003 'a/#' 00`, TopicNameInvalid, "wildcard"},
	{"publish topic with # beside UTF-8", V5, `30 06 0003 C3A4 '#' 00`, TopicNameInvalid, "wildcard"},
	{"publish topic empty [MQTT-4.7.3-1]", V311, `30 02 0000`, ProtocolError, "empty"},
	{"publish topic empty without alias", V5, `30 03 0000 00`, ProtocolError, "empty"},
	{"publish identifier 0 [MQTT-2.3.1-1]", V311, `32 05 0001 't' 0000`, ProtocolError, "identifier is 0"},
	{"publish identifier cut", V311, `32 04 0001 't' 00`, MalformedPacket, "packet identifier"},
	{"publish without properties [MQTT-2.2.2-1]", V5, `30 03 0001 't'`, MalformedPacket, "properties"},
	{"publish properties longer than packet", V5, `30 05 0001 't' 02 01`, MalformedPacket, "properties"},
	{"publish alias 0 [MQTT-3.3.2-8]", V5, `30 07 0001 't' 03 23 0000`, TopicAliasInvalid, "alias is 0"},
	{"publish subscription identifier 0", V5, `30 06 0001 't' 02 0B 00`, ProtocolError, "identifier is 0"},
	{"publish subscription identifier cut", V5, `30 06 0001 't' 02 0B 80`, MalformedPacket, "subscription identifier"},
	{"publish payload format 2", V5, `30 06 0001 't' 02 01 02`, ProtocolError, "payload format"},
	{"publish payload format cut", V5, `30 05 0001 't' 01 01`, MalformedPacket, "payload format"},
	{"publish expiry cut", V5, `30 08 0001 't' 04 02 000000`, MalformedPacket, "message expiry"},
	{"publish alias cut", V5, `30 06 0001 't' 02 23 00`, MalformedPacket, "topic alias"},
	{"publish content type not UTF-8 [MQTT-3.3.2-19]", V5, `30 08 0001 't' 04 03 0001 FF`, MalformedPacket, "content type"},
	{"publish content type cut", V5, `30 08 0001 't' 04 03 0002 'x'`, MalformedPacket, "content type"},
	{"publish response topic not UTF-8 [MQTT-3.3.2-13]", V5, `30 08 0001 't' 04 08 0001 FF`, MalformedPacket, "response topic"},
	{"publish response topic with wildcard [MQTT-3.3.2-14]", V5, `30 08 0001 't' 04 08 0001 '#'`, ProtocolError, "response topic has a wildcard"},
	{"publish response topic empty [MQTT-4.7.3-1]", V5, `30 07 0001 't' 03 08 0000`, ProtocolError, "response topic"},
	{"publish user property name [MQTT-1.5.7-1]", V5, `30 0A 0001 't' 06 26 0001 FF 0000`, MalformedPacket, "user property name"},
	{"publish user property value [MQTT-1.5.7-1]", V5, `30 0A 0001 't' 06 26 0000 0001 00`, MalformedPacket, "user property value"},
	{"publish user property cut", V5, `30 08 0001 't' 04 26 0001 'k'`, MalformedPacket, "user property"},

	// Acknowledgements
	{"puback identifier 0", V311, `40 02 0000`, ProtocolError, "identifier is 0"},
	{"puback cut", V311, `40 01 00`, MalformedPacket, "packet identifier"},
	{"puback too long", V311, `40 03 0001 00`, MalformedPacket, "left"},
	{"puback code [MQTT-3.4.2-1]", V5, `40 03 0001 92`, ProtocolError, "0x92"},
	{"pubrec code [MQTT-3.5.2-1]", V5, `50 03 0001 01`, ProtocolError, "0x01"},
	{"pubrel code [MQTT-3.6.2-1]", V5, `62 03 0001 10`, ProtocolError, "0x10"},
	{"pubcomp code [MQTT-3.7.2-1]", V5, `70 03 0001 80`, ProtocolError, "0x80"},
	{"puback after its properties", V5, `40 05 0001 00 00 00`, MalformedPacket, "left"},

	// SUBSCRIBE, UNSUBSCRIBE and their answers
	{"subscribe identifier 0 [MQTT-2.3.1-1]", V311, `82 06 0000 0001 'a' 00`, ProtocolError, "identifier is 0"},
	{"subscribe without filter [MQTT-3.8.3-3]", V311, `82 02 0001`, ProtocolError, "no topic filter"},
	{"subscribe without filter [MQTT-3.8.3-2]", V5, `82 03 0001 00`, ProtocolError, "no topic filter"},
	{"subscribe filter empty [MQTT-4.7.3-1]", V311, `82 05 0001 0000 00`, MalformedPacket, "empty"},
	{"subscribe filter not UTF-8 [MQTT-3.8.3-1]", V311, `82 06 0001 0001 FF 00`, MalformedPacket, "UTF-8"},
	{"subscribe without options", V311, `82 05 0001 0001 'a'`, MalformedPacket, "options"},
	{"subscribe QoS 3 [MQTT-3.8.3-4]", V311, `82 06 0001 0001 'a' 03`, ProtocolError, "QoS"},
	{"subscribe reserved [MQTT-3.8.3-4]", V311, `82 06 0001 0001 'a' 04`, MalformedPacket, "reserved"},
	{"subscribe reserved [MQTT-3.8.3-5]", V5, `82 07 0001 00 0001 'a' 40`, MalformedPacket, "reserved"},
	{"subscribe QoS 3 in 5", V5, `82 07 0001 00 0001 'a' 03`, ProtocolError, "QoS"},
	{"subscribe retain handling 3", V5, `82 07 0001 00 0001 'a' 30`, ProtocolError, "retain handling"},
	{"subscribe shared no local [MQTT-3.8.3-4]", V5, `82 10 0001 00 000A '$share/g/a' 04`, ProtocolError, "no local"},
	{"subscribe subscription identifier 0", V5, `82 09 0001 02 0B 00 0001 'a' 00`, ProtocolError, "identifier is 0"},
	{"suback code [MQTT-3.9.3-2]", V311, `90 03 0001 81`, ProtocolError, "code"},
	{"suback code of 5 in 3.1.1 [MQTT-3.9.3-2]", V311, `90 03 0001 87`, ProtocolError, "return codes"},
	{"suback code in 5 [MQTT-3.9.3-2]", V5, `90 04 0001 00 03`, ProtocolError, "0x03"},
	{"suback without codes", V311, `90 02 0001`, ProtocolError, "no reason code"},
	{"unsubscribe without filter [MQTT-3.10.3-2]", V311, `A2 02 0001`, ProtocolError, "no topic filter"},
	{"unsubscribe filter not UTF-8 [MQTT-3.10.3-1]", V5, `A2 06 0001 00 0001 FF`, MalformedPacket, "UTF-8"},
	{"unsubscribe identifier 0", V5, `A2 06 0000 00 0001 'a'`, ProtocolError, "identifier is 0"},
	{"unsuback code [MQTT-3.11.3-2]", V5, `B0 04 0001 00 01`, ProtocolError, "0x01"},
	{"unsuback with codes in 3.1.1", V311, `B0 03 0001 00`, MalformedPacket, "left"},

	// The rest
	{"pingreq with content", V311, `C0 01 00`, MalformedPacket, "left"},
	{"pingresp with content", V311, `D0 01 00`, MalformedPacket, "left"},
	{"disconnect with content in 3.1.1", V311, `E0 01 00`, MalformedPacket, "left"},
	{"disconnect code [MQTT-3.14.2-1]", V5, `E0 01 01`, ProtocolError, "0x01"},
	{"disconnect after its properties", V5, `E0 03 00 00 00`, MalformedPacket, "left"},
	{"auth in 3.1.1", V311, `F0 00`, ProtocolError, "3.1.1"},
	{"auth code [MQTT-3.15.2-1]", V5, `F0 02 80 00`, ProtocolError, "0x80"},
	{"auth without method", V5, `F0 02 18 00`, ProtocolError, "method"},
}

func TestRefusals(t *testing.T) {
	for _, x := range refusals {
		t.Run(x.name, func(t *testing.T) {
			b := wire(t, x.wire)
			p, err := decodeWhole(b, x.v)
			if err == nil {
				t.Fatalf("Decode(% X) = %+v", b, p)
			}
			if p != nil {
				t.Errorf("a packet beside the error: %+v", p)
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T is not an *Error: %v", err, err)
			}
			if e.Code != x.code || !strings.Contains(e.Detail, x.says) {
				t.Errorf("%v (0x%02X), want 0x%02X and %q", err, byte(e.Code), byte(x.code), x.says)
			}
			if want := Type(b[0] >> 4); e.Packet != want {
				t.Errorf("error of a %s, want %s", e.Packet, want)
			}
		})
	}
}

// Which version a refused CONNECT is answered in.
func TestAnswer(t *testing.T) {
	for _, x := range []struct {
		name, wire string
		want       Version
	}{
		{"malformed 3.1 [MQTT-3.1.4-1]", `10 0E 0006 'MQIsdp' 03 1E 0000 0000`, 0},
		{"malformed 3.1.1 [MQTT-3.1.4-1]", `10 0C 0004 'MQTT' 04 03 0000 0000`, 0},
		{"malformed 5", `10 0D 0004 'MQTT' 05 03 0000 00 0000`, V5},
		{"empty", `10 00`, 0},
		{"other name", `10 0C 0004 'HTTP' 04 02 0000 0000`, 0},
		{"level 0", `10 0C 0004 'MQTT' 00 02 0000 0000`, V311},
		{"MQTT 3", `10 0C 0004 'MQTT' 03 02 0000 0000`, V311},
		{"MQIsdp 4", `10 0E 0006 'MQIsdp' 04 02 0000 0000`, V311},
		{"level 6", `10 0C 0004 'MQTT' 06 02 0000 0000`, V5},
		{"bridge of 5", `10 0C 0004 'MQTT' 85 02 0000 0000`, V311},
		{"MQIsdp and bridge of 3.1.1", `10 0E 0006 'MQIsdp' 84 02 0000 0000`, V311},
	} {
		t.Run(x.name, func(t *testing.T) {
			_, err := decodeWhole(wire(t, x.wire), 0)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if e.Answer != x.want {
				t.Errorf("%v: answered in %d, want %d", err, e.Answer, x.want)
			}
		})
	}
}

func TestDecodeAckRefusesOthers(t *testing.T) {
	for _, kind := range []Type{0, CONNECT, PUBLISH, SUBSCRIBE, AUTH} {
		if a, err := DecodeAck(Header{Type: kind, Flags: kind.flags()}, []byte{0, 1}, V5); err == nil {
			t.Errorf("DecodeAck of %s: %+v", kind, a)
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, x := range []struct {
		err  Error
		want string
	}{
		{Error{Code: MalformedPacket, Packet: PUBLISH, Detail: "x"}, "malformed PUBLISH: x"},
		{Error{Code: ProtocolError, Packet: CONNECT, Detail: "x"}, "protocol error in CONNECT: x"},
		{Error{Code: TopicAliasInvalid, Packet: PUBLISH, Detail: "x"}, "topic alias invalid in PUBLISH: x"},
		{Error{Code: MalformedPacket, Detail: "x"}, "malformed packet: x"},
	} {
		if got := x.err.Error(); got != x.want {
			t.Errorf("got %q, want %q", got, x.want)
		}
	}
}
