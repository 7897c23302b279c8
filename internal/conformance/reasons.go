package conformance

// reason is why a statement has no check.
type reason struct {
	status Status
	text   string
}

// reasons are those of the statements without a check, by version and id. A
// statement that has checks which do not apply to a broker (they skip, and say
// why) is not here.
var reasons = map[Version]map[string]reason{
	V31: {},
	V311: {
		"MQTT-3.3.5-2": {Unseen, "who may publish where is the broker's own rule, which a client without privileges does not know"},
		"MQTT-4.8.0-2": {Unseen, "a transient error inside the broker cannot be provoked from outside"},
		"MQTT-7.0.0-1": {NotApplicable, "it is about brokers that dial out themselves; as a server this suite sees the broker"},
	},
	V5: {
		"MQTT-3.15.2-2": noMethod,
		"MQTT-3.15.2-3": noMethod,
		"MQTT-4.3.3-9":  {Unseen, "a broker sends PUBREC with an error where it refuses a message; nothing that a client without privileges sends makes every broker do so"},
		"MQTT-4.12.0-2": noMethod,
		"MQTT-4.12.0-4": noMethod,
		"MQTT-4.12.0-5": noMethod,
		"MQTT-4.12.1-2": noMethod,
	},
}

var (
	noMethod = reason{NotApplicable, "an exchange of AUTH needs a method that both know; the suite knows none, and Holdfast has none yet (it refuses every method, which is checked)"}
)
