//go:build !linux

package load

type usage struct {
	cpu float64
	rss int64
}

func usageOf(int) (usage, bool)  { return usage{}, false }
func commandOf(int) string       { return "" }
func listener(int) int           { return 0 }
func ownCPU() float64            { return 0 }
func raiseDescriptors(int) error { return nil }
