package conformance

import "slices"

// checks are all of them, by what they are about.
var checks = slices.Concat(
	streamChecks,
	stringChecks,
	flagChecks,
	connectChecks,
	fieldChecks,
	keepAliveChecks,
	willChecks,
	sessionChecks,
	resendChecks,
	publishChecks,
	identifierChecks,
	retainedChecks,
	propertyChecks,
	expiryChecks,
	aliasChecks,
	flowChecks,
	sizeChecks,
	subscribeChecks,
	unsubscribeChecks,
	topicChecks,
	sharedChecks,
	disconnectChecks,
	authChecks,
	webSocketChecks,
	mqtt31Checks,
)
