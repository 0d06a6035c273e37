package limits

// Held is how many lines are remembered, and how many attempts wait in them.
func (g *Guesses) Held() (lines, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.lines), g.waiting
}
