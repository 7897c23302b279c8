package packet

import (
	"reflect"
	"testing"
)

func TestFit(t *testing.T) {
	user := []UserProperty{{"name", "value"}}
	for _, p := range []Packet{
		&Connack{Code: ServerBusy, Reason: "because", User: user, AssignedClientID: "id"},
		&Ack{Kind: PUBACK, ID: 1, Code: QuotaExceeded, Reason: "because", User: user},
		&Ack{Kind: PUBCOMP, ID: 1, Code: PacketIDNotFound, Reason: "because", User: user},
		&Suback{ID: 1, Reason: "because", User: user, Codes: []Reason{1, NotAuthorized}},
		&Unsuback{ID: 1, Reason: "because", User: user, Codes: []Reason{0}},
		&Disconnect{Code: ServerMoved, ServerReference: "there", Reason: "because", User: user},
		&Auth{Code: ContinueAuthentication, Method: "m", Reason: "because", User: user},
	} {
		t.Run(p.Type().String(), func(t *testing.T) {
			before := p.Append(nil, V5)
			full := uint32(len(before))
			withReason := withoutUser(p, false)
			bare := withoutUser(p, true)
			for _, x := range []struct {
				max  uint32
				want Packet
			}{
				{0, p}, {full, p}, {full + 1, p},
				{full - 1, withReason}, {uint32(Size(withReason, V5)), withReason},
				{uint32(Size(withReason, V5)) - 1, bare}, {uint32(Size(bare, V5)), bare}, {1, bare},
			} {
				got := Fit(p, x.max, V5)
				if !reflect.DeepEqual(got, x.want) {
					t.Errorf("max %d: %+v, want %+v", x.max, got, x.want)
				}
				if x.want == p && got != p {
					t.Errorf("max %d: copied without need", x.max)
				}
			}
			if string(p.Append(nil, V5)) != string(before) {
				t.Errorf("Fit changed its argument")
			}
			if got := Fit(p, 1, V311); got != p {
				t.Errorf("Fit reduced a packet of MQTT 3.1.1")
			}
		})
	}
	for _, p := range []Packet{&Pingresp{}, &Publish{Topic: []byte("t")}, &Connack{}} {
		if got := Fit(p, 1, V5); got != p {
			t.Errorf("%s: %+v", p.Type(), got)
		}
	}
}

// withoutUser returns a copy of p without user properties and, if so, reason.
func withoutUser(p Packet, norReason bool) Packet {
	c := reflect.New(reflect.TypeOf(p).Elem())
	c.Elem().Set(reflect.ValueOf(p).Elem())
	c.Elem().FieldByName("User").SetZero()
	if norReason {
		c.Elem().FieldByName("Reason").SetZero()
	}
	return c.Interface().(Packet)
}
