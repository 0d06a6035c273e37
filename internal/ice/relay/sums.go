package relay

import "signald/internal/limits"

// sums bound what allocations relay together. The accounts outlive allocations: asking for
// another one refills nothing.
type sums struct {
	owners *limits.Limit
	line   *limits.Line // nil: no limit
}

func newSums(s Sums) sums {
	a := func(perSecond int) limits.Rate {
		return limits.Rate{PerSecond: float64(perSecond), Burst: float64(perSecond)}
	}
	all := sums{owners: limits.NewLimit(limits.Rule{Person: a(s.PerUser), Network: a(s.PerIP), Site: a(4 * s.PerIP)}, false)}
	if s.Total > 0 {
		line := a(s.Total)
		line.Burst /= 4
		all.line = limits.NewLine(line)
	}
	return all
}

// take spends bytes, or names the owner whose bound is reached.
func (s sums) take(p limits.Payer, bytes int) limits.Owner {
	if refusal, ok := s.owners.Take(p, float64(bytes)); !ok {
		return refusal.Owner
	}
	if !s.line.Take(p.IP, float64(bytes)) {
		return limits.Server
	}
	return ""
}
