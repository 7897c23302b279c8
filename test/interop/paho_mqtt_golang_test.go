package interop

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// pahoGo3 drives paho.mqtt.golang, the client for MQTT 3.1.1.
type pahoGo3 struct {
	*mouth
	client mqtt.Client
}

func (p *pahoGo3) connect(c command) {
	o := mqtt.NewClientOptions().
		AddBroker("tcp://" + c.Addr).
		SetClientID(c.ID).
		SetCleanSession(c.Clean).
		SetProtocolVersion(4).
		SetKeepAlive(time.Duration(c.KeepAlive) * time.Second).
		SetAutoReconnect(true).
		SetMaxReconnectInterval(time.Second).
		SetOrderMatters(true).
		// The default store sends again in no order at all.
		SetStore(mqtt.NewOrderedMemoryStore()).
		SetCustomOpenConnectionFn(func(u *url.URL, _ mqtt.ClientOptions) (net.Conn, error) {
			return p.dial(context.Background(), u.Host)
		}).
		SetConnectionLostHandler(func(mqtt.Client, error) { p.say(map[string]any{"event": "disconnected"}) }).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			p.received(m.Topic(), m.Payload(), m.Qos(), m.Retained(), m.Duplicate(), properties{})
		})
	if c.Over != "" {
		u, config, err := c.secure()
		if err != nil {
			p.failed(err)
			return
		}
		o.Servers = []*url.URL{u}
		o.SetTLSConfig(config)
		o.CustomOpenConnectionFn = nil
	}
	if c.User != "" {
		o.SetUsername(c.User).SetPassword(c.Password)
	}
	if w := c.Will; w != nil {
		o.SetBinaryWill(w.Topic, []byte(w.Payload), w.QoS, w.Retain)
	}
	var again atomic.Bool
	o.SetOnConnectHandler(func(mqtt.Client) {
		if again.Swap(true) { // the library does not tell session present of later connections
			p.say(map[string]any{"event": "connected"})
		}
	})
	p.client = mqtt.NewClient(o)
	token := p.client.Connect()
	token.Wait()
	if err := token.Error(); err != nil {
		p.failed(err)
		return
	}
	p.say(map[string]any{"event": "connected", "present": token.(*mqtt.ConnectToken).SessionPresent()})
}

// answered waits for token and says what then is to be said.
func (p *pahoGo3) answered(token mqtt.Token, e map[string]any) bool {
	<-token.Done()
	if err := token.Error(); err != nil {
		p.failed(err)
		return false
	}
	if e != nil {
		p.say(e)
	}
	return true
}

func (p *pahoGo3) subscribe(c command) {
	token := p.client.Subscribe(c.Filter, c.QoS, nil).(*mqtt.SubscribeToken)
	if p.answered(token, nil) {
		p.say(map[string]any{"event": "subscribed", "codes": []int{int(token.Result()[c.Filter])}})
	}
}

func (p *pahoGo3) unsubscribe(c command) {
	p.answered(p.client.Unsubscribe(c.Filter), map[string]any{"event": "unsubscribed"})
}

func (p *pahoGo3) publish(c command) {
	p.answered(p.client.Publish(c.Topic, c.QoS, c.Retain, c.text()), map[string]any{"event": "published"})
}

func (p *pahoGo3) count(c command) {
	type sent struct {
		value int
		token mqtt.Token
	}
	waiting := make(chan sent, 20)
	go func() {
		for s := range waiting {
			// An error is one of the connection: the message is in the library's
			// store, and sent again from there, but its token has been given up.
			<-s.token.Done()
			if s.token.Error() == nil {
				p.say(map[string]any{"event": "acked", "value": s.value})
			}
		}
	}()
	for n := c.From; n <= c.To; n++ {
		waiting <- sent{n, p.client.Publish(c.Topic, c.QoS, false, strconv.Itoa(n))}
	}
	close(waiting)
}

func (p *pahoGo3) disconnect() {
	// Messages are acknowledged after the handler has returned: what comes back
	// for this comes after that.
	p.answered(p.client.Publish("settled/paho.mqtt.golang", 1, false, ""), nil)
	p.client.Disconnect(1000)
}
