package transfer

import (
	"time"
	"unicode/utf8"

	"github.com/holdfast-mqtt/holdfast/internal/broker"
	"github.com/holdfast-mqtt/holdfast/internal/packet"
	"github.com/holdfast-mqtt/holdfast/internal/record"
)

// Format is the version of the lines.
const Format = 1

// The types of lines, in the order in which they come: the head; of each session
// its line, its subscriptions, and its deliveries, each message before the first
// delivery of it; then so of each group; retained messages; wills; the end.
const (
	typeHead         = "holdfast-export"
	typeSession      = "session"
	typeGroup        = "group"
	typeSubscription = "subscription"
	typeMessage      = "message"
	typeDelivery     = "delivery"
	typeMissing      = "missing"
	typeRetained     = "retained"
	typeWill         = "will"
	typeEnd          = "end"
)

// line is any line; which fields it has depends on its type.
type line struct {
	Type string `json:"type"`

	// head
	Format  int        `json:"format,omitempty"`
	Version string     `json:"version,omitempty"` // of the program
	Taken   *time.Time `json:"taken,omitempty"`   // what is left of a time is from here on

	// session, group; in subscription and delivery whose it is
	Session   string   `json:"session,omitempty"`
	User      string   `json:"user,omitempty"` // to whom the session belongs
	MQTT      string   `json:"mqtt,omitempty"`
	Never     bool     `json:"never_expires,omitempty"`
	Expiry    uint32   `json:"expiry_s,omitempty"`
	Left      *uint32  `json:"left_s,omitempty"` // of the expiry
	Sent      uint64   `json:"sent_below,omitempty"`
	PacketIDs []uint16 `json:"unreleased_packet_ids,omitempty"`
	Waiting   int      `json:"waiting,omitempty"`

	// subscription
	Filter            string `json:"filter,omitempty"`
	NoLocal           bool   `json:"no_local,omitempty"`
	RetainAsPublished bool   `json:"retain_as_published,omitempty"`
	RetainHandling    byte   `json:"retain_handling,omitempty"`
	SubscriptionID    uint32 `json:"subscription_id,omitempty"`

	// message, retained, will: what a PUBLISH has
	ID uint64 `json:"id,omitempty"`
	*Content

	// delivery, missing
	Message         uint64   `json:"message,omitempty"`
	Number          uint64   `json:"number,omitempty"` // of one that may have been sent
	QoS             byte     `json:"qos,omitempty"`    // also of a subscription, message, will
	Retain          bool     `json:"retain,omitempty"`
	Received        bool     `json:"received,omitempty"`
	SubscriptionIDs []uint32 `json:"subscription_ids,omitempty"`
	Group           string   `json:"group,omitempty"`
	Why             string   `json:"why,omitempty"`

	// will
	DueIn    *int64  `json:"due_in_ms,omitempty"`
	Lifetime *uint32 `json:"message_expiry_s,omitempty"`

	// end
	Total *Counts `json:"total,omitempty"`
}

// Content is what a message says.
type Content struct {
	Topic           string      `json:"topic"`
	Payload         *string     `json:"payload,omitempty"` // UTF-8
	PayloadBase64   []byte      `json:"payload_base64,omitempty"`
	ExpiresIn       *int64      `json:"expires_in_ms,omitempty"`
	PayloadFormat   *byte       `json:"payload_format_indicator,omitempty"`
	ContentType     string      `json:"content_type,omitempty"`
	ResponseTopic   string      `json:"response_topic,omitempty"`
	CorrelationData []byte      `json:"correlation_data_base64,omitempty"`
	UserProperties  [][2]string `json:"user_properties,omitempty"`
}

// Counts says how much there is, or came in.
type Counts struct {
	Sessions      int `json:"sessions"`
	Groups        int `json:"groups,omitempty"`
	Subscriptions int `json:"subscriptions"`
	Deliveries    int `json:"deliveries"`
	Messages      int `json:"messages"` // each once, however many wait for it
	Retained      int `json:"retained"`
	Wills         int `json:"wills,omitempty"`
	Missing       int `json:"missing,omitempty"` // deliveries whose message cannot be read
}

// newContent is the content of a message; what it holds is its own. expires is
// what is left of its time in ms, if it has one.
func newContent(m *record.Message, expires *int64) *Content {
	c := &Content{Topic: string(m.Topic), ExpiresIn: expires}
	if utf8.Valid(m.Payload) {
		text := string(m.Payload)
		c.Payload = &text
	} else {
		c.PayloadBase64 = append([]byte(nil), m.Payload...)
	}
	if len(m.Forward) == 0 {
		return c
	}
	p, err := packet.ParseForward(m.Forward)
	if err != nil {
		return c // a broker took it in once: it cannot be
	}
	if p.HasPayloadFormat {
		c.PayloadFormat = &p.PayloadFormat
	}
	c.ContentType, c.ResponseTopic, c.CorrelationData = p.ContentType, p.ResponseTopic, p.CorrelationData
	for _, u := range p.User {
		c.UserProperties = append(c.UserProperties, [2]string{u.Name, u.Value})
	}
	return c
}

// message makes a message of a content.
func (c *Content) message() record.Message {
	m := record.Message{Topic: []byte(c.Topic), Payload: c.PayloadBase64}
	if c.Payload != nil {
		m.Payload = []byte(*c.Payload)
	}
	p := packet.Properties{ContentType: c.ContentType, ResponseTopic: c.ResponseTopic, CorrelationData: c.CorrelationData}
	if c.PayloadFormat != nil {
		p.HasPayloadFormat, p.PayloadFormat = true, *c.PayloadFormat
	}
	for _, u := range c.UserProperties {
		p.User = append(p.User, packet.UserProperty{Name: u[0], Value: u[1]})
	}
	m.Forward = p.AppendForward(nil)
	return m
}

var versions = map[byte]string{3: "3.1", 4: "3.1.1", 5: "5.0"}

func versionOf(text string) (byte, bool) {
	for v, t := range versions {
		if t == text {
			return v, true
		}
	}
	return 0, false
}

// left is what is left of the rest of a session at a time of the broker's clock.
func left(s *broker.SessionState, now broker.Time) uint32 {
	if s.Open {
		return s.Expiry
	}
	return uint32(max(int64(s.ClosedAt)+int64(s.Expiry)*1000-int64(now)+999, 0) / 1000)
}
