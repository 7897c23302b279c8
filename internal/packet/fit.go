package packet

// Size returns how many bytes p has on the wire of version v. It is 0 when p
// cannot be written: v does not have it, or something in it is too long. It
// writes p to find out; [Publish.Size] does not.
func Size(p Packet, v Version) int {
	return len(p.Append(nil, v))
}

// Fit returns p as it may be sent to a client whose Maximum Packet Size is max
// bytes, 0 for none: without its user properties, and then without its reason
// string, when it is too large with them [MQTT-3.2.2-19] [MQTT-3.2.2-20]
// [MQTT-3.4.2-2] [MQTT-3.4.2-3] [MQTT-3.5.2-2] [MQTT-3.5.2-3] [MQTT-3.6.2-2]
// [MQTT-3.6.2-3] [MQTT-3.7.2-2] [MQTT-3.7.2-3] [MQTT-3.9.2-1] [MQTT-3.9.2-2]
// [MQTT-3.11.2-1] [MQTT-3.11.2-2] [MQTT-3.14.2-3] [MQTT-3.14.2-4]
// [MQTT-3.15.2-2] [MQTT-3.15.2-3]. p itself is not changed: what is reduced is a
// copy. It can still be too large; then it must not be sent [MQTT-3.1.2-24],
// see [Size].
func Fit(p Packet, max uint32, v Version) Packet {
	if max == 0 || v < V5 {
		return p
	}
	small, reason, user := explanation(p)
	if small == nil || *reason == "" && len(*user) == 0 || Size(p, v) <= int(max) {
		return p
	}
	*user = nil
	if Size(small, v) > int(max) {
		*reason = ""
	}
	return small
}

// explanation returns a copy of p and what explains its code in it; nil when
// packets of its type have no such thing.
func explanation(p Packet) (Packet, *string, *[]UserProperty) {
	switch p := p.(type) {
	case *Connack:
		c := *p
		return &c, &c.Reason, &c.User
	case *Ack:
		c := *p
		return &c, &c.Reason, &c.User
	case *Suback:
		c := *p
		return &c, &c.Reason, &c.User
	case *Unsuback:
		c := *p
		return &c, &c.Reason, &c.User
	case *Disconnect:
		c := *p
		return &c, &c.Reason, &c.User
	case *Auth:
		c := *p
		return &c, &c.Reason, &c.User
	}
	return nil, nil, nil
}
