// Package listen makes listeners: an address from the configuration in, a
// net.Listener out. A transport (TCP and Unix sockets now; TLS, WebSocket and the
// PROXY protocol are to come as further schemes of an [Address]) ends here: what
// accepts from a listener sees connections that carry bytes, whatever carries
// the connections.
//
// It may not know what is spoken over them: no MQTT, no broker.
package listen
