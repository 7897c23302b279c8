// Package topic knows topic names and topic filters: which are legal, which filter matches which name, and
// two collections built on that. [Tree] holds subscriptions and finds those that want a given name; [Names]
// holds retained topics and finds those that a given filter wants.
//
// It knows nothing of packets, sessions, messages or quality of service: values are the caller's, and so is the
// key that tells the subscribers of a filter apart. Nothing here is safe for concurrent use unless it says so.
package topic
