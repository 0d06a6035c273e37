package main

import (
	"net/netip"
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
	// What one connection has the server read. An event is a read and a frame; large ones are a read
	// for each 1 to 4 KiB. So 200 offers at once to as many participants fit, which is all that events
	// may be, and 50 a second after that.
	packetsPace = socketio.Pace{PerSecond: 300, Burst: 3000}
)

// packets is packetsPace, unless there are to be no limits.
func (c *Config) packets() socketio.Pace {
	if c.RateLimits == "off" {
		return socketio.Pace{}
	}
	return packetsPace
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

// limit makes a limit of this node, unless there are to be none.
func (c *Config) limit(r limits.Rule) *limits.Limit {
	if c.RateLimits == "off" {
		return nil
	}
	return limits.NewLimit(r, false)
}
