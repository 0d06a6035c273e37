package main

import "signald/internal/limits"

// The bounds of what strangers can make the server spend. docs/SECURITY.md, "What anything
// costs", lists all of them with their reasons; an office of 200 people behind one address
// stays below each. A site, the /48 of an IPv6 address, may spend four times as much as a network.
var requestsRule = limits.Rule{ // HTTP requests: a page loads some twenty files, and 200 pages may load at once
	Network: limits.Rate{PerSecond: 200, Burst: 10_000},
	Site:    limits.Rate{PerSecond: 800, Burst: 40_000},
}

// limit makes a limit of this node, unless there are to be none.
func (c *Config) limit(r limits.Rule) *limits.Limit {
	if c.RateLimits == "off" {
		return nil
	}
	return limits.NewLimit(r, false)
}
