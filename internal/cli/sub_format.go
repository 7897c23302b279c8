package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/holdfast-mqtt/holdfast/internal/client"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
)

// formatter gives the function that appends a message as the flags want it.
func (c *SubCmd) formatter() (func([]byte, *client.Message, time.Time) []byte, error) {
	end := "\n"
	if c.NoEOL {
		end = ""
	}
	switch {
	case c.JSON:
		return func(dst []byte, m *client.Message, now time.Time) []byte {
			return append(appendJSON(dst, m, now, false), '\n')
		}, nil
	case c.Format != "":
		parts, err := parseFormat(c.Format)
		if err != nil {
			return nil, err
		}
		return func(dst []byte, m *client.Message, now time.Time) []byte {
			for _, part := range parts {
				dst = part(dst, m, now)
			}
			return append(dst, end...)
		}, nil
	case c.Verbose:
		return func(dst []byte, m *client.Message, _ time.Time) []byte {
			dst = append(dst, m.Topic...)
			dst = append(dst, ' ')
			dst = append(dst, m.Payload...)
			return append(dst, end...)
		}, nil
	}
	return func(dst []byte, m *client.Message, _ time.Time) []byte {
		return append(append(dst, m.Payload...), end...)
	}, nil
}

// formatPart appends one part of a --format.
type formatPart func(dst []byte, m *client.Message, now time.Time) []byte

// formatVerbs are what may follow a % in --format, as in mosquitto_sub.
var formatVerbs = map[byte]formatPart{
	't': func(dst []byte, m *client.Message, _ time.Time) []byte { return append(dst, m.Topic...) },
	'p': func(dst []byte, m *client.Message, _ time.Time) []byte { return append(dst, m.Payload...) },
	'x': func(dst []byte, m *client.Message, _ time.Time) []byte { return fmt.Appendf(dst, "%x", m.Payload) },
	'X': func(dst []byte, m *client.Message, _ time.Time) []byte { return fmt.Appendf(dst, "%X", m.Payload) },
	'l': func(dst []byte, m *client.Message, _ time.Time) []byte {
		return strconv.AppendInt(dst, int64(len(m.Payload)), 10)
	},
	'q': func(dst []byte, m *client.Message, _ time.Time) []byte { return append(dst, '0'+m.QoS) },
	'r': func(dst []byte, m *client.Message, _ time.Time) []byte { return appendFlag(dst, m.Retain) },
	'd': func(dst []byte, m *client.Message, _ time.Time) []byte { return appendFlag(dst, m.Dup) },
	'm': func(dst []byte, m *client.Message, _ time.Time) []byte {
		return strconv.AppendUint(dst, uint64(m.ID), 10)
	},
	'C': func(dst []byte, m *client.Message, _ time.Time) []byte {
		return append(dst, propertiesOf(m).ContentType...)
	},
	'R': func(dst []byte, m *client.Message, _ time.Time) []byte {
		return append(dst, propertiesOf(m).ResponseTopic...)
	},
	'D': func(dst []byte, m *client.Message, _ time.Time) []byte {
		return append(dst, propertiesOf(m).CorrelationData...)
	},
	'F': func(dst []byte, m *client.Message, _ time.Time) []byte {
		if p := propertiesOf(m); p.HasPayloadFormat {
			return append(dst, '0'+p.PayloadFormat)
		}
		return dst
	},
	'E': func(dst []byte, m *client.Message, _ time.Time) []byte {
		if m.HasExpiry {
			return strconv.AppendUint(dst, uint64(m.Expiry), 10)
		}
		return dst
	},
	'S': func(dst []byte, m *client.Message, _ time.Time) []byte {
		for n, id := range m.SubIDs {
			if n > 0 {
				dst = append(dst, ' ')
			}
			dst = strconv.AppendUint(dst, uint64(id), 10)
		}
		return dst
	},
	'P': func(dst []byte, m *client.Message, _ time.Time) []byte {
		for n, u := range propertiesOf(m).User {
			if n > 0 {
				dst = append(dst, ' ')
			}
			dst = fmt.Appendf(dst, "%s:%s", u.Name, u.Value)
		}
		return dst
	},
	'I': func(dst []byte, _ *client.Message, now time.Time) []byte {
		return now.AppendFormat(dst, "2006-01-02T15:04:05-0700")
	},
	'U': func(dst []byte, _ *client.Message, now time.Time) []byte {
		return fmt.Appendf(dst, "%d.%09d", now.Unix(), now.Nanosecond())
	},
	'j': func(dst []byte, m *client.Message, now time.Time) []byte { return appendJSON(dst, m, now, false) },
	'J': func(dst []byte, m *client.Message, now time.Time) []byte { return appendJSON(dst, m, now, true) },
	'%': func(dst []byte, _ *client.Message, _ time.Time) []byte { return append(dst, '%') },
}

// formatEscapes are what may follow a backslash in --format.
var formatEscapes = map[byte]byte{
	'n': '\n', 't': '\t', 'r': '\r', '0': 0, 'a': '\a', 'e': 0x1b, 'v': '\v', '\\': '\\',
}

// parseFormat cuts a --format into its parts.
func parseFormat(format string) ([]formatPart, error) {
	var parts []formatPart
	var text []byte
	flush := func() {
		if len(text) > 0 {
			part := text
			parts = append(parts, func(dst []byte, _ *client.Message, _ time.Time) []byte { return append(dst, part...) })
			text = nil
		}
	}
	for i := 0; i < len(format); i++ {
		b := format[i]
		if b != '%' && b != '\\' {
			text = append(text, b)
			continue
		}
		i++
		if i == len(format) {
			return nil, usageError("--format (-F) %q ends with a single %c", format, b)
		}
		if b == '\\' {
			escape, ok := formatEscapes[format[i]]
			if !ok {
				return nil, usageError("--format (-F) %q: unknown \\%c", format, format[i])
			}
			text = append(text, escape)
			continue
		}
		verb, ok := formatVerbs[format[i]]
		if !ok {
			return nil, usageError("--format (-F) %q: unknown %%%c; 'holdfast sub --help' lists what there is", format, format[i])
		}
		flush()
		parts = append(parts, verb)
	}
	flush()
	return parts, nil
}

func appendFlag(dst []byte, b bool) []byte {
	if b {
		return append(dst, '1')
	}
	return append(dst, '0')
}

// propertiesOf are the properties of m; it was decoded, so they can be.
func propertiesOf(m *client.Message) packet.Properties {
	p, _ := m.Properties()
	return p
}

// jsonMessage is a message as --json prints it.
type jsonMessage struct {
	Topic    string          `json:"topic"`
	QoS      byte            `json:"qos"`
	Retain   bool            `json:"retain"`
	Dup      bool            `json:"dup"`
	ID       uint16          `json:"id,omitempty"`
	Payload  any             `json:"payload,omitempty"` // text, or with %J the JSON that it is
	Base64   *string         `json:"payload_base64,omitempty"`
	Props    *jsonProperties `json:"properties,omitempty"`
	Received string          `json:"received"`
}

// jsonProperties are the MQTT 5 properties of a message.
type jsonProperties struct {
	PayloadFormat   *byte      `json:"payload_format_indicator,omitempty"`
	MessageExpiry   *uint32    `json:"message_expiry_interval,omitempty"` // seconds
	ContentType     string     `json:"content_type,omitempty"`
	ResponseTopic   string     `json:"response_topic,omitempty"`
	CorrelationData []byte     `json:"correlation_data,omitempty"` // base64
	SubIDs          []uint32   `json:"subscription_identifiers,omitempty"`
	User            []jsonUser `json:"user_properties,omitempty"` // in their order, with repeats
}

type jsonUser struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// appendJSON appends m as a JSON object. With raw, a payload that is JSON stands
// there as it is.
func appendJSON(dst []byte, m *client.Message, now time.Time, raw bool) []byte {
	j := jsonMessage{
		Topic: m.Topic, QoS: m.QoS, Retain: m.Retain, Dup: m.Dup, ID: m.ID,
		Received: now.Format(time.RFC3339Nano), Props: jsonPropertiesOf(m),
	}
	switch {
	case raw && json.Valid(m.Payload):
		j.Payload = json.RawMessage(m.Payload)
	case utf8.Valid(m.Payload):
		j.Payload = string(m.Payload)
	default:
		text := base64.StdEncoding.EncodeToString(m.Payload)
		j.Base64 = &text
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(j); err != nil {
		panic(err) // strings and numbers always can
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

func jsonPropertiesOf(m *client.Message) *jsonProperties {
	if len(m.Forward) == 0 && !m.HasExpiry && len(m.SubIDs) == 0 {
		return nil
	}
	p := propertiesOf(m)
	j := &jsonProperties{
		ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData, SubIDs: m.SubIDs,
	}
	if p.HasPayloadFormat {
		j.PayloadFormat = &p.PayloadFormat
	}
	if m.HasExpiry {
		j.MessageExpiry = &m.Expiry
	}
	for _, u := range p.User {
		j.User = append(j.User, jsonUser(u))
	}
	return j
}
