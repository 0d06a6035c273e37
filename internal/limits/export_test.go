package limits

// Known is how many addresses have a bucket.
func (p *PerIP) Known() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.buckets)
}
