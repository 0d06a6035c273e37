package main

import (
	"net/netip"
	"strconv"
	"time"

	"signald/internal/limits"
	"signald/internal/signaling"
	"signald/internal/socketio"
)

// The bounds of what strangers can make the server spend. docs/SECURITY.md, "What anything
// costs", lists all of them with their reasons; an office of 200 people behind one address
// stays below each. A site, the /48 of an IPv6 address, may spend four times as much as a network.
var (
	// HTTP requests: a page loads some twenty files, and 200 pages may load at once. Those that open a
	// connection, or may ask the database, count as several: see httpapi.
	requestsRule = limits.Rule{
		Network: limits.Rate{PerSecond: 200, Burst: 20_000},
		Site:    limits.Rate{PerSecond: 800, Burst: 80_000},
	}
	// What one connection has the server read. An event is a read and a frame; large ones are some more
	// reads. So 200 offers at once to as many participants fit, which is all that events may be, and 50 a
	// second after that; and who sends more is told so before it is cut.
	packetsPace = socketio.Pace{PerSecond: 300, Burst: 3000}
)

// packets is packetsPace, unless there are to be no limits.
func (c *Config) packets() socketio.Pace {
	if c.RateLimits == "off" {
		return socketio.Pace{}
	}
	return packetsPace
}

// perAddress is a bound of what one address has open at a time, by the name of its field. Without limits the default does not
// count: a load test has one address.
func (c *Config) perAddress(field string, most int) int {
	if c.RateLimits == "off" && strconv.Itoa(most) == tagOf(field, "default") {
		return 0
	}
	return most
}

// lines samples what addresses have written into the log.
func (c *Config) lines() *limits.Sample {
	if c.RateLimits == "off" {
		return nil
	}
	return limits.NewSample(signaling.Lines)
}

// Wrong secrets. What people choose is guessed at as slowly as this: 1,000 times an hour at most.
var (
	guessesRule = limits.GuessRule{ // at keys and passwords
		Network:  limits.Rate{PerSecond: 1 / 4.5, Burst: 20},
		Site:     limits.Rate{PerSecond: 1 / 4.5, Burst: 200},
		Patience: 4750 * time.Millisecond,
	}
	loginsRule = limits.GuessRule{ // at the admin's token
		Network:  limits.Rate{PerSecond: 0.1, Burst: 10},
		Site:     limits.Rate{PerSecond: 0.1, Burst: 40},
		Patience: 10500 * time.Millisecond,
	}
)

// guesses makes a limit of guesses, unless there are to be none.
func (c *Config) guesses(r limits.GuessRule, tell func(ip netip.Addr, subject string)) *limits.Guesses {
	if c.RateLimits == "off" {
		return nil
	}
	g := limits.NewGuesses(r)
	g.Tell = tell
	return g
}

// sharedLimits are those of which all nodes know what was spent, by name: to the second, or as long as Redis does
// not work each node by itself.
type sharedLimits map[string]*limits.Limit

func (s sharedLimits) charge(name string, spent []limits.Spent) {
	for _, sp := range spent {
		s[name].Charge(sp) // nil for one that this version does not have
	}
}

// spending makes the limits of what clients, addresses, people and meetings say, which all nodes know of.
func (s *server) spending() signaling.Spending {
	c := s.config
	if c.RateLimits == "off" {
		return signaling.Spending{}
	}
	return signaling.Spending{
		Purses: signaling.NewPurses(),
		Joins:  s.sharedLimit("joins", signaling.Joins),
		Bytes:  s.sharedLimit("bytes", signaling.BytesRule),
		Asks:   s.sharedLimit("asks", signaling.AsksRule),
		Speech: s.sharedLimit("speech", signaling.SpeechRule),
		Chat:   s.sharedLimit("chat", signaling.ChatRule),
	}
}

// sharedLimit makes a limit that all nodes keep together, unless there are to be none.
func (s *server) sharedLimit(name string, r limits.Rule) *limits.Limit {
	if s.config.RateLimits == "off" {
		return nil
	}
	l := limits.NewLimit(r, s.config.RedisURL != "")
	if s.shared == nil {
		s.shared = sharedLimits{}
	}
	s.shared[name] = l
	return l
}

// limit makes a limit of this node, unless there are to be none.
func (c *Config) limit(r limits.Rule) *limits.Limit {
	if c.RateLimits == "off" {
		return nil
	}
	return limits.NewLimit(r, false)
}
