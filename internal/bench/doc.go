// Package bench loads any MQTT broker and measures it. Scenarios say what the
// load is, an account for each publisher says what was lost, duplicated or out
// of order, and histograms say how long it took. It knows the broker by the wire
// alone: of the rest of this module it may use the codec and nothing else, so
// that a figure of ours was reached by the same means as a figure of others.
//
// Machines differ and are noisy. So brokers are measured in turn, several times,
// and compared by the median of the ratios of one turn; and beside them runs the
// floor, a server that does the least that a durable broker must do: what share
// of its rate a broker reaches is a figure that another machine can confirm.
package bench
