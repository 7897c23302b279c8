package cli

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// dumpLine is a line of a dump: what it is about, and fields. In text an empty
// field is left out, in JSON too.
type dumpLine struct {
	out  *bufio.Writer
	json bool
	cmd  *DumpCmd
}

// line begins a line.
func (d *dump) line(kind string) *dumpLine {
	l := &dumpLine{out: d.out, json: d.cmd.JSON, cmd: d.cmd}
	if l.json {
		l.out.WriteString(`{"kind":` + strconv.Quote(strings.TrimLeft(kind, " !")))
	} else {
		fmt.Fprintf(l.out, "%-15s", kind)
	}
	return l
}

// add adds a field, unless it is empty.
func (l *dumpLine) add(name string, value any) {
	if v := reflect.ValueOf(value); !v.IsValid() || v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
		return
	}
	if l.json {
		b, err := json.Marshal(value)
		if err != nil {
			b, _ = json.Marshal(fmt.Sprint(value))
		}
		l.out.WriteString(`,"` + name + `":`)
		l.out.Write(b)
		return
	}
	l.out.WriteString(" " + name + " ")
	switch v := value.(type) {
	case string:
		switch {
		case strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) || strings.Contains(v, "'"):
			v = strconv.Quote(v)
		case strings.ContainsAny(v, " \"{["):
			v = "'" + v + "'"
		}
		l.out.WriteString(v)
	case time.Time:
		l.out.WriteString(v.Format("2006-01-02T15:04:05.000Z"))
	case bool:
		l.out.WriteString("yes")
	default:
		b, _ := json.Marshal(value)
		l.out.Write(b)
	}
}

// of says whose a line is; in text it stands below it.
func (l *dumpLine) of(clientID string) {
	if l.json {
		l.add("session", clientID)
	}
}

// end ends the line.
func (l *dumpLine) end() {
	if l.json {
		l.out.WriteString("}")
	}
	l.out.WriteString("\n")
}

// message adds what a message has.
func (l *dumpLine) message(m *record.Message, d *dump) {
	l.add("topic", string(m.Topic))
	l.add("qos", m.QoS)
	l.add("retain", m.Retain)
	if m.Publisher != 0 {
		l.add("publisher", d.name(m.Publisher))
		l.add("packet_id", m.PacketID)
	}
	if m.Expires != 0 {
		l.add("expires", d.at(m.Expires))
	}
	for _, sid := range m.Skip {
		l.add("not_to", d.name(sid))
	}
	l.add("queue_qos0", m.QueueQoS0)
	if p, err := packet.ParseForward(m.Forward); err == nil && len(m.Forward) > 0 {
		if p.HasPayloadFormat {
			l.add("payload_format", strconv.Itoa(int(p.PayloadFormat)))
		}
		l.add("content_type", p.ContentType)
		l.add("response_topic", p.ResponseTopic)
		l.add("correlation_data", hex.EncodeToString(p.CorrelationData))
		for _, u := range p.User {
			l.add("user_property", [2]string{u.Name, u.Value})
		}
	}
	l.payload(m.Payload)
}

// payload adds as much of a payload as is wanted.
func (l *dumpLine) payload(b []byte) {
	l.add("bytes", len(b))
	cut := min(int(l.cmd.Payload), len(b))
	if cut == 0 {
		return
	}
	short := b[:cut]
	if cut < len(b) {
		for k := 0; k < utf8.UTFMax && len(short) > 0 && utf8.Valid(b) && !utf8.Valid(short); k++ {
			short = short[:len(short)-1] // not within a character
		}
	}
	switch {
	case l.cmd.Hex:
		l.add("payload_hex", hex.EncodeToString(b[:cut]))
	case utf8.Valid(short):
		l.add("payload", string(short))
	case l.json:
		l.add("payload_base64", base64.StdEncoding.EncodeToString(b[:cut]))
	default:
		l.add("payload_hex", hex.EncodeToString(b[:cut]))
	}
	if cut < len(b) {
		l.add("cut", true)
	}
}

// name is the client identifier of a session number.
func (d *dump) name(sid uint64) string {
	if n := d.names[sid]; n != "" {
		return n
	}
	return fmt.Sprintf("(session number %d)", sid)
}

// at is a time of the broker's clock on the wall's, as far as the newest stamp
// tells.
func (d *dump) at(clock int64) time.Time {
	return time.UnixMilli(d.wall + clock - d.clock).UTC()
}

// eachField visits the fields of a record under the names of the documentation.
func eachField(r record.Record, visit func(name string, value any)) {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		value := v.Field(i).Interface()
		switch x := value.(type) {
		case []byte: // payload and properties of a will
			if utf8.Valid(x) {
				value = string(x)
			} else {
				value = hex.EncodeToString(x)
			}
		case []record.QueuedEntry:
			var list []map[string]any
			for j := range x {
				m := map[string]any{}
				e := reflect.ValueOf(x[j])
				for k := range e.NumField() {
					if !e.Field(k).IsZero() {
						m[fieldName(e.Type().Field(k).Name)] = e.Field(k).Interface()
					}
				}
				list = append(list, m)
			}
			value = list
		}
		visit(fieldName(v.Type().Field(i).Name), value)
	}
}

// fieldName is the name of a field as the documentation writes it: client_id of
// ClientID.
func fieldName(name string) string {
	for _, word := range []string{"SID", "ID", "QoS"} {
		name = strings.ReplaceAll(name, word, word[:1]+strings.ToLower(word[1:]))
	}
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
