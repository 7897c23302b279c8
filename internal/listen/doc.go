// Package listen makes listeners: an address from the configuration in, a
// net.Listener out. A transport (TCP, Unix sockets, TLS, WebSocket, the PROXY protocol)
// ends here: what accepts from a listener sees connections that carry bytes,
// whatever carries the connections.
//
// It may not know what is spoken over them: no MQTT but its name among the subprotocols
// of WebSocket, no broker.
package listen
