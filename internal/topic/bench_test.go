package topic

import (
	"fmt"
	"runtime"
	"testing"
)

// heap returns the bytes in use after everything unreachable is gone.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkTreeMemory reports what a Tree costs for a million subscriptions beyond the filters and values, which are
// the caller's, and what it gives back when they are gone.
func BenchmarkTreeMemory(b *testing.B) {
	const n = 1_000_000
	scatter := func(i int) uint64 { return uint64(i) * 0x9E3779B97F4A7C15 }
	ascend := func(i int) uint64 { return uint64(i) }
	for _, c := range []struct {
		name   string
		filter func(i int) string
		key    func(i int) uint64
	}{
		{"distinct exact filters", func(i int) string { return fmt.Sprintf("device/%07d/command", i) }, ascend},
		{"one exact filter, ascending keys", func(int) string { return "device/all/command" }, ascend},
		{"one exact filter, scattered keys", func(int) string { return "device/all/command" }, scatter},
		{"distinct wildcard filters", func(i int) string { return fmt.Sprintf("device/%07d/#", i) }, ascend},
		{"exact filters of two each", func(i int) string { return fmt.Sprintf("device/%07d/command", i/2) }, ascend},
	} {
		b.Run(c.name, func(b *testing.B) {
			filters := make([]string, n)
			for i := range filters {
				filters[i] = c.filter(i)
			}
			value := new(int)
			for b.Loop() {
				var tree Tree[*int]
				before := heap()
				for i, filter := range filters {
					tree.Set(filter, c.key(i), value)
				}
				full := heap()
				for i, filter := range filters {
					tree.Delete(filter, c.key(i))
				}
				empty := heap()
				b.ReportMetric(float64(full-before)/n, "B/subscription")
				b.ReportMetric(float64(empty-before)/n, "B/subscription-left")
				runtime.KeepAlive(&tree)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/set+delete")
			b.ReportMetric(0, "ns/op")
			runtime.KeepAlive(filters)
		})
	}
}

// BenchmarkNamesMemory is the same for a million retained topics.
func BenchmarkNamesMemory(b *testing.B) {
	const n = 1_000_000
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("device/%07d/state", i)
	}
	value := new(int)
	for b.Loop() {
		var names Names[*int]
		before := heap()
		for _, name := range all {
			names.Set(name, value)
		}
		full := heap()
		for _, name := range all {
			names.Delete(name)
		}
		empty := heap()
		b.ReportMetric(float64(full-before)/n, "B/name")
		b.ReportMetric(float64(empty-before)/n, "B/name-left")
		runtime.KeepAlive(&names)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/set+delete")
	b.ReportMetric(0, "ns/op")
	runtime.KeepAlive(all)
}

var sizes = []int{10, 1_000, 100_000, 1_000_000}

// BenchmarkTreeMatch looks up names that are spread over all filters, with a few wildcard filters that match all.
func BenchmarkTreeMatch(b *testing.B) {
	for _, shape := range []struct {
		name   string
		filter func(i int) string
	}{
		{"exact", func(i int) string { return fmt.Sprintf("device/%07d/command", i) }},
		{"last level", func(i int) string { return fmt.Sprintf("device/%07d/+", i) }},
		{"first level", func(i int) string { return fmt.Sprintf("+/%07d/command", i) }},
		{"below", func(i int) string { return fmt.Sprintf("device/%07d/#", i) }},
	} {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", shape.name, n), func(b *testing.B) {
				var tree Tree[*int]
				value := new(int)
				for i := range n {
					tree.Set(shape.filter(i), uint64(i), value)
				}
				tree.Set("#", 1, value)
				tree.Set("+/+/command", 1, value)
				names := make([][]byte, 1024)
				for i := range names {
					names[i] = fmt.Appendf(nil, "device/%07d/command", i*7919%n)
				}
				dst := make([]*int, 0, 8)
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					if got := len(tree.Match(names[i%len(names)], dst)); got != 3 {
						b.Fatalf("%d matches", got)
					}
					i++
				}
			})
		}
	}
}

// BenchmarkTreeMatchFanOut is one name that very many want.
func BenchmarkTreeMatchFanOut(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var tree Tree[*int]
			for key := range n {
				tree.Set("device/all/command", uint64(key), new(int))
			}
			dst := make([]*int, 0, n)
			name := []byte("device/all/command")
			b.ReportAllocs()
			for b.Loop() {
				if got := len(tree.Match(name, dst)); got != n {
					b.Fatalf("%d matches", got)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/match")
		})
	}
}

// BenchmarkTreeChurn subscribes and unsubscribes beside others that stay.
func BenchmarkTreeChurn(b *testing.B) {
	for _, n := range sizes {
		for name, filter := range map[string]func(key int) string{
			"own filter":    func(key int) string { return fmt.Sprintf("device/%07d/command", key) },
			"common filter": func(int) string { return "device/all/command" },
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				var tree Tree[*int]
				value := new(int)
				filters := make([]string, n)
				for key := range n {
					filters[key] = filter(key)
					tree.Set(filters[key], uint64(key), value)
				}
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					key := i * 7919 % n
					tree.Delete(filters[key], uint64(key))
					tree.Set(filters[key], uint64(key), value)
					i++
				}
			})
		}
	}
}

func BenchmarkNames(b *testing.B) {
	for _, n := range sizes {
		var names Names[*int]
		value := new(int)
		all := make([]string, n)
		for i := range all {
			all[i] = fmt.Sprintf("plant/%d/device/%07d/state", i%10, i)
			names.Set(all[i], value)
		}
		b.Run(fmt.Sprintf("replace/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				names.Set(all[i*7919%n], value)
				i++
			}
		})
		for _, c := range []struct {
			filter string
			want   int
		}{
			{"plant/3/device/0000003/state", 1},
			{"plant/+/device/0000003/state", 1},
			{"plant/3/device/0000003/#", 1},
			{"plant/3/device/+/state", n / 10},
			{"#", n},
		} {
			b.Run(fmt.Sprintf("match %d of/%d", c.want, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					got := 0
					names.Match(c.filter, func(string, *int) bool { got++; return true })
					if got != c.want {
						b.Fatalf("%s: %d visits", c.filter, got)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.want), "ns/visit")
			})
		}
	}
}
