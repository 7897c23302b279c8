package packet

import (
	"encoding/hex"
	"strings"
	"testing"
)

// wire reads bytes as these tests write them: hex digits, and text in single
// quotes. Blanks separate and mean nothing.
func wire(t testing.TB, s string) []byte {
	t.Helper()
	var b []byte
	for _, word := range strings.Fields(s) {
		if strings.HasPrefix(word, "'") {
			b = append(b, strings.Trim(word, "'")...)
			continue
		}
		x, err := hex.DecodeString(word)
		if err != nil {
			t.Fatalf("%q in %q: %v", word, s, err)
		}
		b = append(b, x...)
	}
	return b
}

// vector is a packet and its bytes.
type vector struct {
	name    string
	v       Version
	wire    string
	packet  Packet
	encoded string // what packet encodes to, when that is not wire
}

var vectors = []vector{
	// CONNECT
	{name: "connect 3.1", v: V31, wire: `10 10 0006 'MQIsdp' 03 02 003C 0002 'ab'`,
		packet: &Connect{Version: V31, CleanStart: true, KeepAlive: 60, ClientID: "ab", RequestProblemInfo: true}},
	{name: "connect 3.1 with a user name flag and nothing left", v: V31, wire: `10 10 0006 'MQIsdp' 03 C2 003C 0002 'ab'`,
		packet:  &Connect{Version: V31, CleanStart: true, KeepAlive: 60, ClientID: "ab", RequestProblemInfo: true},
		encoded: `10 10 0006 'MQIsdp' 03 02 003C 0002 'ab'`},
	{name: "connect 3.1 with flags to disregard", v: V31, wire: `10 10 0006 'MQIsdp' 03 3B 003C 0002 'ab'`,
		packet:  &Connect{Version: V31, CleanStart: true, KeepAlive: 60, ClientID: "ab", RequestProblemInfo: true},
		encoded: `10 10 0006 'MQIsdp' 03 02 003C 0002 'ab'`},
	{name: "connect 3.1.1 without identifier", v: V311, wire: `10 0C 0004 'MQTT' 04 02 0000 0000`,
		packet: &Connect{Version: V311, CleanStart: true, RequestProblemInfo: true}},
	{name: "connect 3.1.1 of a bridge", v: V311, wire: `10 0C 0004 'MQTT' 84 02 0000 0000`,
		packet: &Connect{Version: V311, Bridge: true, CleanStart: true, RequestProblemInfo: true}},
	{name: "connect 3.1 of a bridge", v: V31, wire: `10 10 0006 'MQIsdp' 83 02 003C 0002 'ab'`,
		packet: &Connect{Version: V31, Bridge: true, CleanStart: true, KeepAlive: 60, ClientID: "ab", RequestProblemInfo: true}},
	{name: "connect 3.1.1 with all", v: V311,
		wire: `10 24 0004 'MQTT' 04 F4 FFFF 0003 'cid' 0003 'w/t' 0003 00FF00 0002 'me' 0005 'pass' 00`,
		packet: &Connect{Version: V311, KeepAlive: 65535, ClientID: "cid", RequestProblemInfo: true,
			Will:        &Will{Topic: "w/t", Payload: []byte{0, 255, 0}, QoS: 2, Retain: true},
			HasUsername: true, Username: "me", HasPassword: true, Password: []byte("pass\x00")}},
	{name: "connect 3.1.1 with what is empty", v: V311, wire: `10 15 0004 'MQTT' 04 C6 0000 0000 0001 't' 0000 0000 0000`,
		packet: &Connect{Version: V311, CleanStart: true, RequestProblemInfo: true, Will: &Will{Topic: "t", Payload: []byte{}},
			HasUsername: true, HasPassword: true, Password: []byte{}}},
	{name: "connect 5", v: V5, wire: `10 0D 0004 'MQTT' 05 02 0000 00 0000`,
		packet: &Connect{Version: V5, CleanStart: true, RequestProblemInfo: true}},
	{name: "connect 5, password alone", v: V5, wire: `10 10 0004 'MQTT' 05 40 0000 00 0000 0001 'p'`, // 5.0 relaxes [MQTT-3.1.2-22]
		packet: &Connect{Version: V5, RequestProblemInfo: true, HasPassword: true, Password: []byte("p")}},
	{name: "connect 5 with all", v: V5,
		wire: `10 64 0004 'MQTT' 05 EC 001E
			2A 11 FFFFFFFF 21 0014 27 00010000 22 000A 19 01 17 00 15 0001 'm' 16 0002 0001 26 0001 'a' 0001 'b' 26 0001 'a' 0000
			0001 'c'
			1F 01 01 03 0001 'x' 08 0001 'r' 09 0001 FF 26 0001 'k' 0001 'v' 02 0000003C 18 00000005
			0001 't' 0001 '!' 0001 'u' 0001 'p'`,
		packet: &Connect{Version: V5, KeepAlive: 30, ClientID: "c", HasUsername: true, Username: "u", HasPassword: true, Password: []byte("p"),
			SessionExpiry: 0xFFFFFFFF, ReceiveMaximum: 20, MaximumPacketSize: 65536, TopicAliasMaximum: 10, RequestResponseInfo: true,
			AuthMethod: "m", AuthData: []byte{0, 1}, User: []UserProperty{{"a", "b"}, {"a", ""}},
			Will: &Will{Topic: "t", Payload: []byte("!"), QoS: 1, Retain: true, Delay: 5, HasExpiry: true, Expiry: 60,
				Forward: []byte("\x01\x01\x03\x00\x01x\x08\x00\x01r\x09\x00\x01\xFF\x26\x00\x01k\x00\x01v")}}},
	{name: "connect 5 with what need not be said", v: V5,
		wire:    `10 1C 0004 'MQTT' 05 02 0000 0F 11 00000000 22 0000 19 00 17 01 15 0000 0000`,
		packet:  &Connect{Version: V5, CleanStart: true, RequestProblemInfo: true},
		encoded: `10 0D 0004 'MQTT' 05 02 0000 00 0000`},

	// CONNACK
	{name: "connack 3.1", v: V31, wire: `20 02 00 00`, packet: &Connack{}},
	{name: "connack 3.1, reserved byte", v: V31, wire: `20 02 01 02`, packet: &Connack{Code: ClientIDNotValid}, encoded: `20 02 00 02`},
	{name: "connack 3.1.1, session present", v: V311, wire: `20 02 01 00`, packet: &Connack{SessionPresent: true}},
	{name: "connack 3.1.1, version", v: V311, wire: `20 02 00 01`, packet: &Connack{Code: UnsupportedProtocolVersion}},
	{name: "connack 3.1.1, identifier", v: V311, wire: `20 02 00 02`, packet: &Connack{Code: ClientIDNotValid}},
	{name: "connack 3.1.1, unavailable", v: V311, wire: `20 02 00 03`, packet: &Connack{Code: ServerUnavailable}},
	{name: "connack 3.1.1, password", v: V311, wire: `20 02 00 04`, packet: &Connack{Code: BadUsernameOrPassword}},
	{name: "connack 3.1.1, authorized", v: V311, wire: `20 02 00 05`, packet: &Connack{Code: NotAuthorized}},
	{name: "connack 5", v: V5, wire: `20 03 00 00 00`, packet: &Connack{}},
	{name: "connack 5, refusal", v: V5, wire: `20 0A 00 87 07 1F 0004 'nope'`, packet: &Connack{Code: NotAuthorized, Reason: "nope"}},
	{name: "connack 5 with all", v: V5,
		wire: `20 44 01 00 41 11 00000000 21 0001 24 00 25 00 27 00000400 12 0002 'id' 22 0003 28 00 29 00 2A 00 13 0000
			1A 0001 'i' 1C 0001 's' 15 0001 'm' 16 0000 1F 0001 'r' 26 0001 'a' 0001 'b' 26 0000 0000`,
		packet: &Connack{SessionPresent: true, HasSessionExpiry: true, ReceiveMaximum: 1, HasMaximumQoS: true, RetainUnavailable: true,
			MaximumPacketSize: 1024, AssignedClientID: "id", TopicAliasMaximum: 3, WildcardUnavailable: true, SubIDUnavailable: true,
			SharedUnavailable: true, HasServerKeepAlive: true, ResponseInfo: "i", ServerReference: "s", AuthMethod: "m", AuthData: []byte{},
			Reason: "r", User: []UserProperty{{"a", "b"}, {"", ""}}}},
	{name: "connack 5 with what need not be said", v: V5,
		wire:    `20 10 00 00 0D 24 01 25 01 28 01 29 01 2A 01 1F 0000`,
		packet:  &Connack{HasMaximumQoS: true, MaximumQoS: 1},
		encoded: `20 05 00 00 02 24 01`},

	// PUBLISH
	{name: "publish 3.1", v: V31, wire: `30 05 0001 't' 'hi'`, packet: &Publish{Topic: []byte("t"), Payload: []byte("hi")}},
	{name: "publish 3.1.1", v: V311, wire: `3D 0B 0003 'a/b' 000A 'data'`,
		packet: &Publish{Dup: true, QoS: 2, Retain: true, Topic: []byte("a/b"), ID: 10, Payload: []byte("data")}},
	{name: "publish 3.1.1, nothing in it", v: V311, wire: `31 03 0001 '/'`, packet: &Publish{Retain: true, Topic: []byte("/"), Payload: []byte{}}},
	{name: "publish 3.1.1, BOM and more", v: V311, wire: `30 0B 0009 EFBBBF C3A4 F09F9880`, // [MQTT-1.5.3-3]
		packet: &Publish{Topic: []byte("\uFEFFä😀"), Payload: []byte{}}},
	{name: "publish 5", v: V5, wire: `32 08 0001 't' FFFF 00 'hi'`,
		packet: &Publish{QoS: 1, Topic: []byte("t"), ID: 65535, Payload: []byte("hi")}},
	{name: "publish 5, alias alone", v: V5, wire: `30 07 0000 03 23 0001 '!'`, packet: &Publish{Topic: []byte{}, Alias: 1, Payload: []byte("!")}},
	{name: "publish 5 with all", v: V5,
		wire: `3B 33 0001 't' 0001 2B 01 01 03 0000 08 0001 'r' 09 0002 0102 26 0001 'k' 0001 'v' 26 0001 'k' 0001 'w'
			02 00000000 23 FFFF 0B 01 0B FFFFFF7F '..'`,
		packet: &Publish{Dup: true, QoS: 1, Retain: true, Topic: []byte("t"), ID: 1, Payload: []byte(".."), HasExpiry: true, Alias: 65535,
			SubIDs:  []uint32{1, MaxRemaining},
			Forward: []byte("\x01\x01\x03\x00\x00\x08\x00\x01r\x09\x00\x02\x01\x02\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01w")}},
	{name: "publish 5, properties scattered", v: V5,
		wire: `30 1D 0001 't' 18 02 00000009 26 0000 0001 '1' 23 0002 01 00 0B 07 26 0000 0001 '2' '!'`,
		packet: &Publish{Topic: []byte("t"), HasExpiry: true, Expiry: 9, Alias: 2, SubIDs: []uint32{7}, Payload: []byte("!"),
			Forward: []byte("\x26\x00\x00\x00\x011\x01\x00\x26\x00\x00\x00\x012")},
		encoded: `30 1D 0001 't' 18 26 0000 0001 '1' 01 00 26 0000 0001 '2' 02 00000009 23 0002 0B 07 '!'`},

	// PUBACK, PUBREC, PUBREL, PUBCOMP
	{name: "puback 3.1", v: V31, wire: `40 02 0001`, packet: &Ack{Kind: PUBACK, ID: 1}},
	{name: "puback 3.1.1", v: V311, wire: `40 02 FFFF`, packet: &Ack{Kind: PUBACK, ID: 65535}},
	{name: "pubrec 3.1.1", v: V311, wire: `50 02 0102`, packet: &Ack{Kind: PUBREC, ID: 258}},
	{name: "pubrel 3.1.1", v: V311, wire: `62 02 0102`, packet: &Ack{Kind: PUBREL, ID: 258}},
	{name: "pubrel 3.1, again", v: V31, wire: `6A 02 0102`, packet: &Ack{Kind: PUBREL, ID: 258}, encoded: `62 02 0102`},
	{name: "pubcomp 3.1.1", v: V311, wire: `70 02 0102`, packet: &Ack{Kind: PUBCOMP, ID: 258}},
	{name: "puback 5", v: V5, wire: `40 02 0001`, packet: &Ack{Kind: PUBACK, ID: 1}},
	{name: "puback 5, code", v: V5, wire: `40 03 0001 97`, packet: &Ack{Kind: PUBACK, ID: 1, Code: QuotaExceeded}},
	{name: "puback 5, success said", v: V5, wire: `40 03 0001 00`, packet: &Ack{Kind: PUBACK, ID: 1}, encoded: `40 02 0001`},
	{name: "puback 5, no properties said", v: V5, wire: `40 04 0001 10 00`,
		packet: &Ack{Kind: PUBACK, ID: 1, Code: NoMatchingSubscribers}, encoded: `40 03 0001 10`},
	{name: "pubrec 5 with all", v: V5, wire: `50 11 0001 80 0D 1F 0003 'why' 26 0001 'k' 0001 'v'`,
		packet: &Ack{Kind: PUBREC, ID: 1, Code: UnspecifiedError, Reason: "why", User: []UserProperty{{"k", "v"}}}},
	{name: "pubrel 5", v: V5, wire: `62 03 0001 92`, packet: &Ack{Kind: PUBREL, ID: 1, Code: PacketIDNotFound}},
	{name: "pubcomp 5", v: V5, wire: `70 08 0001 00 04 1F 0001 'r'`, packet: &Ack{Kind: PUBCOMP, ID: 1, Reason: "r"}},

	// SUBSCRIBE and its answers
	{name: "subscribe 3.1, again", v: V31, wire: `8A 06 0001 0001 'a' 01`,
		packet: &Subscribe{ID: 1, Subscriptions: []Subscription{{Filter: "a", QoS: 1}}}, encoded: `82 06 0001 0001 'a' 01`},
	{name: "subscribe 3.1.1", v: V311, wire: `82 0E 000A 0003 'a/#' 02 0003 '+/b' 00`,
		packet: &Subscribe{ID: 10, Subscriptions: []Subscription{{Filter: "a/#", QoS: 2}, {Filter: "+/b"}}}},
	{name: "subscribe 5", v: V5, wire: `82 07 0001 00 0001 'a' 2E`,
		packet: &Subscribe{ID: 1, Subscriptions: []Subscription{{Filter: "a", QoS: 2, NoLocal: true, RetainAsPublished: true, RetainHandling: 2}}}},
	{name: "subscribe 5 with all", v: V5, wire: `82 1A 0001 0A 0B 8001 26 0001 'k' 0001 'v' 000A '$share/g/a' 19`,
		packet: &Subscribe{ID: 1, SubID: 128, User: []UserProperty{{"k", "v"}},
			Subscriptions: []Subscription{{Filter: "$share/g/a", QoS: 1, RetainAsPublished: true, RetainHandling: 1}}}},
	{name: "suback 3.1.1", v: V311, wire: `90 06 0001 00 01 02 80`,
		packet: &Suback{ID: 1, Codes: []Reason{GrantedQoS0, GrantedQoS1, GrantedQoS2, UnspecifiedError}}},
	{name: "suback 5", v: V5, wire: `90 06 0001 00 00 01 A2`,
		packet: &Suback{ID: 1, Codes: []Reason{GrantedQoS0, GrantedQoS1, WildcardSubscriptionsNotSupported}}},
	{name: "suback 5 with all", v: V5, wire: `90 0F 0001 0B 1F 0001 'r' 26 0001 'k' 0001 'v' 8F`,
		packet: &Suback{ID: 1, Reason: "r", User: []UserProperty{{"k", "v"}}, Codes: []Reason{TopicFilterInvalid}}},

	// UNSUBSCRIBE and its answers
	{name: "unsubscribe 3.1, again", v: V31, wire: `AA 05 0001 0001 'a'`,
		packet: &Unsubscribe{ID: 1, Filters: []string{"a"}}, encoded: `A2 05 0001 0001 'a'`},
	{name: "unsubscribe 3.1.1", v: V311, wire: `A2 0A 0001 0001 'a' 0003 'b/#'`, packet: &Unsubscribe{ID: 1, Filters: []string{"a", "b/#"}}},
	{name: "unsubscribe 5", v: V5, wire: `A2 0D 0001 07 26 0001 'k' 0001 'v' 0001 'a'`,
		packet: &Unsubscribe{ID: 1, User: []UserProperty{{"k", "v"}}, Filters: []string{"a"}}},
	{name: "unsuback 3.1.1", v: V311, wire: `B0 02 0001`, packet: &Unsuback{ID: 1}},
	{name: "unsuback 5", v: V5, wire: `B0 05 0001 00 00 11`, packet: &Unsuback{ID: 1, Codes: []Reason{Success, NoSubscriptionExisted}}},
	{name: "unsuback 5 with all", v: V5, wire: `B0 0F 0001 0B 1F 0001 'r' 26 0001 'k' 0001 'v' 91`,
		packet: &Unsuback{ID: 1, Reason: "r", User: []UserProperty{{"k", "v"}}, Codes: []Reason{PacketIDInUse}}},

	// The rest
	{name: "pingreq", v: V311, wire: `C0 00`, packet: &Pingreq{}},
	{name: "pingresp", v: V5, wire: `D0 00`, packet: &Pingresp{}},
	{name: "disconnect 3.1.1", v: V311, wire: `E0 00`, packet: &Disconnect{}},
	{name: "disconnect 5", v: V5, wire: `E0 00`, packet: &Disconnect{}},
	{name: "disconnect 5, code", v: V5, wire: `E0 01 04`, packet: &Disconnect{Code: DisconnectWithWill}},
	{name: "disconnect 5, all said", v: V5, wire: `E0 02 00 00`, packet: &Disconnect{}, encoded: `E0 00`},
	{name: "disconnect 5 with all", v: V5, wire: `E0 16 9C 14 11 0000000A 1C 0001 's' 1F 0001 'r' 26 0001 'k' 0001 'v'`,
		packet: &Disconnect{Code: UseAnotherServer, HasSessionExpiry: true, SessionExpiry: 10, ServerReference: "s", Reason: "r",
			User: []UserProperty{{"k", "v"}}}},
	{name: "auth", v: V5, wire: `F0 00`, packet: &Auth{}},
	{name: "auth with all", v: V5, wire: `F0 16 18 14 15 0001 'm' 16 0002 0001 1F 0001 'r' 26 0001 'k' 0001 'v'`,
		packet: &Auth{Code: ContinueAuthentication, Method: "m", Data: []byte{0, 1}, Reason: "r", User: []UserProperty{{"k", "v"}}}},
	{name: "auth again", v: V5, wire: `F0 06 19 04 15 0001 'm'`, packet: &Auth{Code: ReAuthenticate, Method: "m"}},
}
