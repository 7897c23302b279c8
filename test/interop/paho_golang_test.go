package interop

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/paho"
)

// pahoGo5 drives paho.golang, the client for MQTT 5, with its autopaho.
type pahoGo5 struct {
	*mouth
	client *autopaho.ConnectionManager
}

func (p *pahoGo5) connect(c command) {
	cfg := autopaho.ClientConfig{
		ServerUrls:                    []*url.URL{{Scheme: "mqtt", Host: c.Addr}},
		KeepAlive:                     uint16(c.KeepAlive),
		CleanStartOnInitialConnection: c.Clean,
		SessionExpiryInterval:         c.Expiry,
		ReconnectBackoff:              func(int) time.Duration { return 100 * time.Millisecond },
		AttemptConnection: func(ctx context.Context, _ autopaho.ClientConfig, u *url.URL) (net.Conn, error) {
			return p.dial(ctx, u.Host)
		},
		OnConnectionUp: func(_ *autopaho.ConnectionManager, ack *paho.Connack) {
			p.say(map[string]any{"event": "connected", "present": ack.SessionPresent, "code": ack.ReasonCode})
		},
		OnConnectionDown: func() bool {
			p.say(map[string]any{"event": "disconnected"})
			return true
		},
		ClientConfig: paho.ClientConfig{
			ClientID:      c.ID,
			PacketTimeout: limit,
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
				m := r.Packet
				p.received(m.Topic, m.Payload, m.QoS, m.Retain, m.Duplicate(), fromPaho(m.Properties))
				return true, nil
			}},
		},
	}
	if c.Over != "" {
		u, config, err := c.secure()
		if err != nil {
			p.failed(err)
			return
		}
		cfg.ServerUrls, cfg.TlsCfg, cfg.AttemptConnection = []*url.URL{u}, config, nil
	}
	if c.User != "" {
		cfg.ConnectUsername, cfg.ConnectPassword = c.User, []byte(c.Password)
	}
	if w := c.Will; w != nil {
		cfg.WillMessage = &paho.WillMessage{Topic: w.Topic, Payload: []byte(w.Payload), QoS: w.QoS, Retain: w.Retain}
		cfg.WillProperties = &paho.WillProperties{}
		if w.Delay > 0 {
			cfg.WillProperties.WillDelayInterval = &w.Delay
		}
		if f := w.Properties; f != nil {
			cfg.WillProperties.ContentType = f.ContentType
			cfg.WillProperties.User = toPaho(f).User
		}
	}
	var err error
	if p.client, err = autopaho.NewConnection(context.Background(), cfg); err != nil {
		p.failed(err)
	}
}

func toPaho(f *properties) *paho.PublishProperties {
	if f == nil {
		return nil
	}
	p := &paho.PublishProperties{ContentType: f.ContentType, ResponseTopic: f.ResponseTopic}
	if f.Correlation != "" {
		p.CorrelationData = []byte(f.Correlation)
	}
	if f.Expiry > 0 {
		p.MessageExpiry = &f.Expiry
	}
	if f.PayloadFormat > 0 {
		p.PayloadFormat = &f.PayloadFormat
	}
	for _, u := range f.User {
		p.User.Add(u[0], u[1])
	}
	return p
}

func fromPaho(p *paho.PublishProperties) (f properties) {
	if p == nil {
		return f
	}
	f.ContentType, f.ResponseTopic, f.Correlation = p.ContentType, p.ResponseTopic, string(p.CorrelationData)
	if p.MessageExpiry != nil {
		f.Expiry = *p.MessageExpiry
	}
	if p.PayloadFormat != nil {
		f.PayloadFormat = *p.PayloadFormat
	}
	if p.SubscriptionIdentifier != nil {
		f.Subscription = uint32(*p.SubscriptionIdentifier)
	}
	for _, u := range p.User {
		f.User = append(f.User, [2]string{u.Key, u.Value})
	}
	return f
}

func (p *pahoGo5) subscribe(c command) {
	s := &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: c.Filter, QoS: c.QoS}}}
	if o := c.Options; o != nil {
		s.Subscriptions[0].NoLocal = o.NoLocal
		s.Subscriptions[0].RetainAsPublished = o.RetainAsPublished
		s.Subscriptions[0].RetainHandling = o.RetainHandling
		if o.Subscription > 0 {
			id := int(o.Subscription)
			s.Properties = &paho.SubscribeProperties{SubscriptionIdentifier: &id}
		}
	}
	ack, err := p.client.Subscribe(context.Background(), s)
	if err != nil {
		p.failed(err)
		return
	}
	codes := []int{}
	for _, r := range ack.Reasons {
		codes = append(codes, int(r))
	}
	p.say(map[string]any{"event": "subscribed", "codes": codes})
}

func (p *pahoGo5) unsubscribe(c command) {
	if _, err := p.client.Unsubscribe(context.Background(), &paho.Unsubscribe{Topics: []string{c.Filter}}); err != nil {
		p.failed(err)
		return
	}
	p.say(map[string]any{"event": "unsubscribed"})
}

func (p *pahoGo5) publish(c command) {
	m := &paho.Publish{Topic: c.Topic, QoS: c.QoS, Retain: c.Retain, Payload: []byte(c.text()), Properties: toPaho(c.Properties)}
	if _, err := p.client.Publish(context.Background(), m); err != nil {
		p.failed(err)
		return
	}
	p.say(map[string]any{"event": "published"})
}

// count publishes one value after the other. A value that was under way when the
// connection was lost is in the library's session, which sends it again by
// itself; its acknowledgement is not told, so the next one's has to do.
func (p *pahoGo5) count(c command) {
	for n := c.From; n <= c.To; n++ {
		for {
			_, err := p.client.Publish(context.Background(), &paho.Publish{Topic: c.Topic, QoS: c.QoS, Payload: []byte(strconv.Itoa(n))})
			if err == nil {
				p.say(map[string]any{"event": "acked", "value": n})
				break
			}
			if stored := err.Error() == "PUBLISH transmitted but not fully acknowledged at time of shutdown"; stored {
				break
			}
			if errors.Is(err, context.DeadlineExceeded) {
				p.failed(err)
				return
			}
			p.client.AwaitConnection(context.Background())
		}
	}
}

func (p *pahoGo5) disconnect() {
	// As with the others: behind the acknowledgements of what was received.
	if _, err := p.client.Publish(context.Background(), &paho.Publish{Topic: "settled/paho.golang", QoS: 1}); err != nil {
		p.failed(err)
	}
	if err := p.client.Disconnect(context.Background()); err != nil {
		p.failed(err)
	}
}
