package interop

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// mosquittoVersions are the values of -V that the tools know.
var mosquittoVersions = []string{"mqttv31", "mqttv311", "mqttv5"}

// eachVersion runs a test with the tools in each of the versions; none: in all.
func eachVersion(t *testing.T, run func(t *testing.T, version string), versions ...string) {
	t.Helper()
	if len(versions) == 0 {
		versions = mosquittoVersions
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			startsOrSkips(t, "mosquitto_sub")
			run(t, version)
		})
	}
}

// subscribes starts mosquitto_sub and returns when it is subscribed.
func subscribes(t *testing.T, b broker, args ...string) *tool {
	t.Helper()
	p := startTool(t, b, "mosquitto_sub", append(args, "-d")...)
	p.seen("Subscribed ")
	return p
}

// publishes runs mosquitto_pub.
func publishes(t *testing.T, b broker, args ...string) {
	t.Helper()
	startTool(t, b, "mosquitto_pub", args...).wait()
}

func TestMosquittoEveryQoS(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		b := startBroker(t)
		var subs []*tool
		for sub := range 3 {
			subs = append(subs, subscribes(t, b, "-V", version, "-t", "qos/+", "-q", strconv.Itoa(sub), "-F", "got %t %q %r %p"))
		}
		for pub := range 3 {
			publishes(t, b, "-V", version, "-t", "qos/"+strconv.Itoa(pub), "-q", strconv.Itoa(pub), "-m", "täglich ✓")
			for sub, p := range subs {
				want := "qos/" + strconv.Itoa(pub) + " " + strconv.Itoa(min(pub, sub)) + " 0 täglich ✓"
				if got := p.line("got "); got != want {
					t.Errorf("published at QoS %d, subscribed at %d: %q, want %q", pub, sub, got, want)
				}
			}
		}
		for _, p := range subs {
			p.stop()
		}
	})
}

// The broker is killed while mosquitto_sub is there: it connects again by itself and
// goes on with its session, and what was published before it is back is not missing.
func TestMosquittoSubReconnects(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		for _, qos := range []byte{1, 2} {
			t.Run("QoS "+strconv.Itoa(int(qos)), func(t *testing.T) {
				b := startBroker(t)
				args := []string{"-V", version, "-c", "-i", "consumer", "-t", "count/+", "-q", strconv.Itoa(int(qos)), "-F", "value %p"}
				if version == "mqttv5" {
					args = append(args, "-x", "3600")
				}
				p := subscribes(t, b, args...)
				got := tally{next: 1, once: qos == 2}
				until := func(last int) {
					for got.next <= last {
						got.takeText(t, p.line("value "))
					}
				}
				count(t, b, qos, version, 1, 100)
				underWay := 70
				if qos == 2 {
					// libmosquitto 2.0.11 does not do well with a QoS 2 PUBLISH that it has and
					// that comes again, as it must: in MQTT 5 it counts it twice against its
					// receive maximum of 20, and leaves. PUBREL may come again.
					underWay = 0
				}
				until(100 - underWay)
				b.crash(t)
				b.restart(t)
				count(t, b, qos, version, 101, 200)
				until(200)
				// Not SIGTERM: it is sending its last PUBACK, and once did not end when the
				// signal came just then: its handler is suspected.
				p.cmd.Process.Kill()
				t.Logf("%d values, %d of them twice", got.next-1, got.duplicates)
			})
		}
	})
}

// A will, of each QoS, and retained; none from a client that takes its leave without
// asking for it.
func TestMosquittoWill(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		b := startBroker(t)
		watcher := subscribes(t, b, "-V", version, "-t", "will/#", "-q", "2", "-F", "will %t %q %r %p")
		dies := func(topic string, args ...string) *tool {
			return subscribes(t, b, append([]string{"-V", version, "-t", "nothing", "-i", strings.ReplaceAll(topic, "/", "-"),
				"--will-topic", topic, "--will-payload", "gone"}, args...)...)
		}
		// -E says DISCONNECT when it is subscribed; on SIGTERM mosquitto_sub does, too, but
		// in MQTT 5 with 0x04, which asks for the will.
		startTool(t, b, "mosquitto_sub", "-V", version, "-t", "nothing", "-E", "--will-topic", "will/polite", "--will-payload", "gone").wait()
		dies("will/told").stop()
		if version == "mqttv5" {
			if got := watcher.line("will "); got != "will/told 0 0 gone" {
				t.Errorf("will after DISCONNECT 0x04: %q", got)
			}
		}
		for qos := range 3 {
			topic := "will/" + strconv.Itoa(qos)
			dies(topic, "--will-qos", strconv.Itoa(qos)).cmd.Process.Kill()
			if got, want := watcher.line("will "), topic+" "+strconv.Itoa(qos)+" 0 gone"; got != want {
				t.Errorf("will: %q, want %q", got, want)
			}
		}
		dies("will/kept", "--will-qos", "1", "--will-retain").cmd.Process.Kill()
		if got := watcher.line("will "); got != "will/kept 1 0 gone" {
			t.Errorf("retained will, to a subscriber that is there: %q", got)
		}
		watcher.stop()
		late := subscribes(t, b, "-V", version, "-t", "will/#", "-q", "2", "-F", "will %t %q %r %p")
		if got := late.line("will "); got != "will/kept 1 1 gone" {
			t.Errorf("retained will, later: %q", got)
		}
		late.stop()
	})
}

// MQTT 5: the properties of a will, and its delay.
func TestMosquittoWillProperties(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		b := startBroker(t)
		watcher := subscribes(t, b, "-V", version, "-t", "will/#", "-q", "1", "-F", "will %t %p type %C user %P")
		will := func(id string, delay int) {
			subscribes(t, b, "-V", version, "-t", "nothing", "-i", id, "-c", "-x", "3600", "--will-topic", "will/"+id, "--will-payload", "gone",
				"-D", "will", "content-type", "text/plain", "-D", "will", "user-property", "why", "crash",
				"-D", "will", "will-delay-interval", strconv.Itoa(delay)).cmd.Process.Kill()
		}
		will("later", 3600) // its session goes on, so this one does not come
		will("soon", 1)
		if got := watcher.line("will "); got != "will/soon gone type text/plain user why:crash" {
			t.Errorf("will: %q", got)
		}
		watcher.stop()
	}, "mqttv5")
}

// 1 MB at each QoS, and one that waits for an absent session over a crash.
func TestMosquittoLargePayloads(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		const size = 1_000_000
		b := startBroker(t)
		session := []string{"-V", version, "-c", "-i", "consumer", "-t", "large/+", "-q", "2", "-F", "large %q %l %p"}
		if version == "mqttv5" {
			session = append(session, "-x", "3600")
		}
		publish := func(filling string, qos int) (want string) {
			t.Helper()
			payload := strings.Repeat(filling, size/len(filling)+1)[:size]
			file := filepath.Join(t.TempDir(), "payload")
			if err := os.WriteFile(file, []byte(payload), 0o600); err != nil {
				t.Fatal(err)
			}
			publishes(t, b, "-V", version, "-t", "large/x", "-q", strconv.Itoa(qos), "-f", file)
			return strconv.Itoa(qos) + " " + strconv.Itoa(size) + " " + payload
		}
		expect := func(p *tool, want string) {
			t.Helper()
			if got := p.line("large "); got != want {
				t.Errorf("1 MB came as %d bytes: %.30q..., want %.30q...", len(got), got, want)
			}
		}
		p := subscribes(t, b, session...)
		for qos := range 3 {
			expect(p, publish("filling "+strconv.Itoa(qos)+" ", qos))
		}
		// A message is given out before it is answered, and what SIGTERM overtakes
		// comes again: this is given when the others are answered.
		publishes(t, b, "-V", version, "-t", "large/settle", "-m", "settle")
		expect(p, "0 6 settle")
		p.stop()
		want := publish("waits ", 2)
		b.crash(t)
		b.restart(t)
		p = subscribes(t, b, session...)
		expect(p, want)
		p.stop()
	})
}

// MQTT 5: the properties of a message arrive as they were sent, at once and after the
// message has waited over a crash.
func TestMosquittoProperties(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		b := startBroker(t)
		session := []string{"-V", version, "-c", "-x", "3600", "-i", "consumer", "-t", "p/+", "-q", "1",
			"-D", "subscribe", "subscription-identifier", "268435455",
			"-F", "got %p type %C answer %R correlation %D format %F user %P sub %S expiry %E"}
		check := func(p *tool) {
			t.Helper()
			got, expiry, _ := strings.Cut(p.line("got "), " expiry ")
			if want := "{} type application/json answer answers/1 correlation c-17 format 1 user a:1 a:2 b:ü sub 268435455"; got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if n, err := strconv.Atoi(expiry); err != nil || n < 900 || n > 1000 {
				t.Errorf("message expiry %q, 1000 was sent", expiry)
			}
		}
		publish := func() {
			t.Helper()
			publishes(t, b, "-V", version, "-t", "p/1", "-q", "1", "-m", "{}",
				"-D", "publish", "content-type", "application/json", "-D", "publish", "response-topic", "answers/1",
				"-D", "publish", "correlation-data", "c-17", "-D", "publish", "payload-format-indicator", "1",
				"-D", "publish", "message-expiry-interval", "1000",
				"-D", "publish", "user-property", "a", "1", "-D", "publish", "user-property", "a", "2", "-D", "publish", "user-property", "b", "ü")
		}
		p := subscribes(t, b, session...)
		publish()
		check(p)
		publishes(t, b, "-V", version, "-t", "p/settle", "-m", "settle") // see TestMosquittoLargePayloads
		p.line("got settle")
		p.stop()
		publish()
		b.crash(t)
		b.restart(t)
		p = subscribes(t, b, session...)
		check(p)
		p.stop()
	}, "mqttv5")
}

// MQTT 5: the options of a subscription that mosquitto_sub can set.
func TestMosquittoSubscriptionOptions(t *testing.T) {
	eachVersion(t, func(t *testing.T, version string) {
		b := startBroker(t)
		publishes(t, b, "-V", version, "-t", "kept/1", "-m", "kept", "-r", "-q", "1")
		p := subscribes(t, b, "-V", version, "-t", "kept/+", "-q", "1", "--retain-as-published", "-F", "got %t %r %p")
		if got := p.line("got "); got != "kept/1 1 kept" {
			t.Errorf("retained: %q", got)
		}
		publishes(t, b, "-V", version, "-t", "kept/2", "-m", "now", "-r", "-q", "1")
		if got := p.line("got "); got != "kept/2 1 now" {
			t.Errorf("retain as published: %q", got)
		}
		p.stop()
	}, "mqttv5")
}
