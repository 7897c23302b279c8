"""python-paho 1.6.1, driven by lines of JSON: a command a line on standard input,
an event a line on standard output. The words are described in driver_test.go.
Everything that speaks MQTT here is paho's; this only translates."""
import hashlib
import json
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

out = threading.Lock()


def say(**event):
    with out:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def describe(payload):
    if len(payload) > 1000:
        return {"size": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
    return {"payload": payload.decode()}


def to_properties(given, kind):
    if not given:
        return None
    p = Properties(kind)
    for name, attribute in (
        ("content_type", "ContentType"),
        ("response_topic", "ResponseTopic"),
        ("expiry", "MessageExpiryInterval"),
        ("payload_format", "PayloadFormatIndicator"),
    ):
        if name in given:
            setattr(p, attribute, given[name])
    if "correlation" in given:
        p.CorrelationData = given["correlation"].encode()
    if "user" in given:
        p.UserProperty = [tuple(pair) for pair in given["user"]]
    return p


def from_properties(p):
    if p is None:
        return {}
    has = p.json()
    found = {}
    for name, attribute in (
        ("content_type", "ContentType"),
        ("response_topic", "ResponseTopic"),
        ("expiry", "MessageExpiryInterval"),
        ("payload_format", "PayloadFormatIndicator"),
        ("subscription", "SubscriptionIdentifier"),
    ):
        if attribute in has:
            found[name] = has[attribute]
    if isinstance(found.get("subscription"), list):
        found["subscription"] = found["subscription"][0]
    if "CorrelationData" in has:
        found["correlation"] = p.CorrelationData.decode()
    if "UserProperty" in has:
        found["user"] = [list(pair) for pair in p.UserProperty]
    return found


class Driver:
    def __init__(self):
        self.client = None
        self.pending = {}  # packet identifier -> what to say when it is acknowledged
        self.early = set()  # acknowledged before we had its identifier
        self.lock = threading.Lock()

    def connect(self, c):
        v5 = c["version"] == 5
        over = c.get("over", "")
        by = "websockets" if over in ("ws", "wss") else "tcp"
        if v5:
            self.client = mqtt.Client(client_id=c["id"], protocol=mqtt.MQTTv5, transport=by)
        else:
            self.client = mqtt.Client(client_id=c["id"], clean_session=c["clean"], protocol=mqtt.MQTTv311, transport=by)
        m = self.client
        if over in ("tls", "wss"):
            m.tls_set(ca_certs=c["ca"])
        if c.get("user"):
            m.username_pw_set(c["user"], c["password"])
        m.on_connect = self.on_connect
        m.on_disconnect = self.on_disconnect
        m.on_subscribe = self.on_subscribe
        m.on_unsubscribe = lambda *a: say(event="unsubscribed")
        m.on_publish = self.on_publish
        m.on_message = self.on_message
        m.reconnect_delay_set(1, 1)
        will = c.get("will")
        if will:
            p = to_properties(will.get("properties"), PacketTypes.WILLMESSAGE)
            if will.get("delay"):
                p = p or Properties(PacketTypes.WILLMESSAGE)
                p.WillDelayInterval = will["delay"]
            m.will_set(will["topic"], will["payload"], will["qos"], will.get("retain", False), properties=p)
        host, port = c["addr"].rsplit(":", 1)
        if v5:
            p = Properties(PacketTypes.CONNECT)
            if c.get("expiry"):
                p.SessionExpiryInterval = c["expiry"]
            m.connect(host, int(port), keepalive=c["keepalive"], clean_start=c["clean"], properties=p)
        else:
            m.connect(host, int(port), keepalive=c["keepalive"])
        m.loop_start()

    def on_connect(self, client, userdata, flags, rc, properties=None):
        code = rc if isinstance(rc, int) else rc.value
        say(event="connected", present=bool(flags["session present"]), code=code)

    def on_disconnect(self, client, userdata, rc, properties=None):
        code = rc if isinstance(rc, int) else rc.value
        say(event="disconnected", code=code)

    def on_subscribe(self, client, userdata, mid, granted, properties=None):
        say(event="subscribed", codes=[g if isinstance(g, int) else g.value for g in granted])

    def on_message(self, client, userdata, m):
        say(event="message", topic=m.topic, qos=m.qos, retain=bool(m.retain), dup=bool(m.dup),
            properties=from_properties(getattr(m, "properties", None)), **describe(m.payload))

    def on_publish(self, client, userdata, mid):
        with self.lock:
            done = self.pending.pop(mid, None)
            if done is None:
                self.early.add(mid)
        if done is not None:
            done()

    def send(self, c, payload, done):
        info = self.client.publish(c["topic"], payload, c["qos"], c.get("retain", False),
                                   properties=to_properties(c.get("properties"), PacketTypes.PUBLISH))
        with self.lock:
            if info.mid in self.early:
                self.early.discard(info.mid)
            else:
                self.pending[info.mid] = done
                return
        done()

    def publish(self, c):
        payload = c.get("payload", "")
        if c.get("size"):
            payload = (payload * (c["size"] // max(1, len(payload)) + 1))[: c["size"]]
        self.send(c, payload.encode(), lambda: say(event="published"))

    def count(self, c):
        for n in range(c["from"], c["to"] + 1):
            self.send(c, str(n).encode(), lambda n=n: say(event="acked", value=n))

    def subscribe(self, c):
        if c.get("options"):
            o = c["options"]
            options = mqtt.SubscribeOptions(qos=c["qos"], noLocal=o.get("no_local", False),
                                            retainAsPublished=o.get("retain_as_published", False),
                                            retainHandling=o.get("retain_handling", 0))
            p = Properties(PacketTypes.SUBSCRIBE)
            if o.get("subscription"):
                p.SubscriptionIdentifier = o["subscription"]
            self.client.subscribe(c["filter"], options=options, properties=p)
        else:
            self.client.subscribe(c["filter"], c["qos"])

    def unsubscribe(self, c):
        self.client.unsubscribe(c["filter"])

    def drop(self, c):
        self.client.socket().shutdown(2)

    def disconnect(self, c):
        # paho acknowledges a message after on_message has returned, on a thread of
        # its own: DISCONNECT could overtake the acknowledgement of a message that
        # on_message has told us. What comes back for this comes after it was sent.
        settled = threading.Event()
        self.send({"topic": "settled/" + c.get("id", ""), "qos": 1}, b"", settled.set)
        settled.wait()
        self.client.disconnect()
        self.client.loop_stop()
        say(event="left")


def main():
    d = Driver()
    for line in sys.stdin:
        c = json.loads(line)
        getattr(d, c["command"])(c)


main()
