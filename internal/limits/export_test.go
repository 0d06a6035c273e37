package limits

// Known is how many addresses have a bucket.
func (p *PerIP) Known() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.buckets)
}

// Held is how many lines are remembered, and how many attempts wait in them.
func (g *Guesses) Held() (lines, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.lines), g.waiting
}
