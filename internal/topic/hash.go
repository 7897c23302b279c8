package topic

import "hash/maphash"

// seed keeps peers, who choose the topics, from choosing ones that collide. Nothing that can be seen from outside
// depends on it: no order follows a hash.
var seed = maphash.MakeSeed()

func hashText(s string) uint32 {
	return uint32(maphash.String(seed, s) >> 32)
}

// hashEdge hashes a level below the node parent.
func hashEdge(parent uint32, level string) uint32 {
	const odd = 0x9E3779B97F4A7C15
	h := maphash.String(seed, level) ^ uint64(parent)*odd
	h ^= h >> 32
	return uint32(h * odd >> 32)
}
