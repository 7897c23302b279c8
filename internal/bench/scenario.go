package bench

// scenario is a load and what is measured of it.
type scenario struct {
	name     string
	summary  string
	defaults Params
	// after is the scenario that has to come before, to the same broker: what it
	// left there is what this one is about.
	after string
	// floor says what the floor does, to be compared with; nil: nothing does.
	floor func(Spec) Spec
	// own: it starts the broker again, which must be ours to start.
	own bool
	run func(*stage) (*Result, error)
}

// usual is what most scenarios have.
var usual = Params{Messages: 1_000_000, Publishers: 20, Subscribers: 1, Window: 100, Size: 100, QoS: 1, Rate: 500}

// order is the scenarios as they are listed and, when none is named, run.
var order = []*scenario{
	{name: "ingest", summary: "producers publish while the consumers' sessions are away",
		defaults: Unset(), floor: same, run: runIngest},
	{name: "drain", summary: "those consumers come back",
		defaults: Unset(), after: "ingest", floor: fullIngest, run: runDrain},
	{name: "restart", summary: "the broker ends and starts while that waits (a broker of our own only)",
		defaults: Unset(), after: "ingest", own: true, run: runRestart},
	{name: "live", summary: "producers to consumers with persistent sessions that are there",
		defaults: Unset(), floor: same, run: runLive},
	{name: "pairs", summary: "producer i to consumer i",
		defaults: Params{Messages: 400_000, Publishers: 200, Window: 10, QoS: -1}, floor: fullIngest, run: runPairs},
	{name: "qos0", summary: "producers to one consumer at QoS 0",
		defaults: Params{Messages: 2_000_000, QoS: 0}, floor: fullIngest, run: runClean},
	{name: "fanout", summary: "few producers to many consumers with clean sessions",
		defaults: Params{Messages: 20_000, Publishers: 2, Subscribers: 100, QoS: -1}, floor: fullIngest, run: runClean},
	{name: "mixed", summary: "producers of QoS 0, 1 and 2 to one consumer with a persistent session",
		defaults: Params{Messages: 300_000, QoS: 2}, floor: fullIngest, run: runMixed},
	{name: "wildcards", summary: "consumers with many subscriptions that have wildcards, most of which do not match",
		defaults: Params{Messages: 200_000, Subscribers: 10, QoS: -1}, floor: fullIngest, run: runWildcards},
	{name: "sizes", summary: "live, with payloads of 16 B to 1 MB",
		defaults: Params{Messages: 50_000, QoS: -1}, floor: same, run: runSizes},
	{name: "waiting", summary: "messages wait for a consumer, which comes for them, again and again",
		defaults: Params{Messages: 100_000, QoS: -1}, run: runWaiting},
	{name: "filters", summary: "as many subscriptions, none of which matches, beside one consumer of all; each topic is new",
		defaults: Params{Messages: 200_000, Subscribers: 10_000, QoS: -1}, run: runFilters},
	{name: "wild-filters", summary: "the same, all with wildcards",
		defaults: Params{Messages: 200_000, Subscribers: 10_000, QoS: -1}, run: runWildFilters},
	{name: "latency", summary: "one message at a time, to a consumer with a persistent session",
		defaults: Params{Messages: 2_500, QoS: -1}, floor: same, run: runLatency},
	{name: "drain-under-live", summary: "the same, alone and while another session gets what waited for it",
		defaults: Unset(), run: runDrainUnderLive},
	{name: "sessions", summary: "clients connect, subscribe twice and go away; their sessions stay",
		defaults: Params{Subscribers: 100_000, Messages: 20, QoS: -1}, run: runSessions},
	{name: "broadcast", summary: "messages to all of those",
		defaults: Params{Subscribers: 100_000, Messages: 20, QoS: -1}, after: "sessions", run: runBroadcast},
	{name: "broadcast-drain", summary: "they come for them, one after another",
		defaults: Params{Subscribers: 100_000, Messages: 20, QoS: -1}, after: "broadcast", run: runBroadcastDrain},
	{name: "idle", summary: "connections with one subscription that say nothing",
		defaults: Params{Subscribers: 10_000, QoS: -1}, run: runIdle},
	{name: "churn", summary: "clients that connect, subscribe, publish or receive one message, and go, again and again",
		defaults: Params{Messages: 20_000, QoS: -1}, run: runChurn},
}

var scenarios map[string]*scenario

func init() { // the functions of the table look into it
	scenarios = make(map[string]*scenario)
	for _, s := range order {
		scenarios[s.name] = s
	}
}

// Names are the scenarios' names.
func Names() (names []string) {
	for _, s := range order {
		names = append(names, s.name)
	}
	return names
}

// ForOthers are the names of those that can be run on a broker that we did not
// start.
func ForOthers() (names []string) {
	for _, s := range order {
		if !s.own {
			names = append(names, s.name)
		}
	}
	return names
}

// Summary says what a scenario is.
func Summary(name string) string { return scenarios[name].summary }

// same is the floor under the same load, as far as it can: it has QoS 1 only, and
// sends to one consumer.
func same(s Spec) Spec {
	s.QoS, s.Subscribers = 1, 1
	if s.Name != "latency" {
		s.Rate = usual.Rate // nobody looks at it
	}
	return s
}

// fullIngest is the rate that the floor takes from 20 producers with 100
// messages in flight each: the limit that other loads are measured by. A load of
// few messages to many consumers would be a floor of few, which measures nothing
// but how it begins: so it gets as large a share of the usual number as s has of
// its own.
func fullIngest(s Spec) Spec {
	p := usual
	own := Unset().or(scenarios[s.Name].defaults).or(usual)
	p.Messages = max(s.Messages, int(int64(s.Messages)*int64(usual.Messages)/int64(own.Messages)))
	p.Size = s.Size
	return Spec{"ingest", p, s.Rounds}
}

// act is scenarios that follow each other on one broker.
type act []step

type step struct {
	Spec
	silent bool // it only prepares for the next
}

// rounds is how often it runs, of all rounds.
func (a act) rounds(all int) int {
	if n := a[len(a)-1].Rounds; n > 0 {
		return min(n, all)
	}
	return all
}

// acts groups specs: what a scenario needs before it is the spec that it follows,
// if that is the same load, or is added.
func acts(specs []Spec) (all []act) {
	for _, s := range specs {
		sc := scenarios[s.Name]
		if sc.after != "" && len(all) > 0 {
			last := &all[len(all)-1]
			before := (*last)[len(*last)-1].Spec
			if before.Name == sc.after && before.Params == s.Params && before.Rounds == s.Rounds {
				*last = append(*last, step{Spec: s})
				continue
			}
		}
		a := act{{Spec: s}}
		for sc.after != "" {
			a = append(act{{Spec: Spec{sc.after, s.Params, s.Rounds}, silent: true}}, a...)
			sc = scenarios[sc.after]
		}
		all = append(all, a)
	}
	return all
}
