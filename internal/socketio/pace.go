package socketio

import "time"

// Pace is a token bucket: Burst at once, PerSecond after that.
type Pace struct{ PerSecond, Burst int }

// pace is what one client has spent of a Pace, by the generic cell rate algorithm (ITU-T I.371): when
// its bucket is full again.
type pace struct{ full time.Time }

// A packet counts as onePacket. Reads and fragments of at least largePiece bytes are pieces of large messages, which
// cost by their bytes more than by their number: such a piece counts as 1.
const (
	onePacket  = 8
	largePiece = 512
)

// costOf is what a read or a fragment of n bytes counts.
func costOf(n int) int {
	if n >= largePiece {
		return 1
	}
	return onePacket
}

// take spends n, of which a packet is onePacket, or reports that they are not there.
func (p *pace) take(of Pace, n int, now time.Time) bool {
	if of == (Pace{}) {
		return true
	}
	each := time.Second / time.Duration(of.PerSecond)
	full := p.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(time.Duration(n) * each / onePacket)
	if full.Sub(now) > time.Duration(of.Burst)*each {
		return false
	}
	p.full = full
	return true
}

// spend counts n of the client's packets, as take does, or reports that they are too many. Its caller holds handling.
func (s *session) spend(n int) bool { return s.packets.take(s.srv.opts.Packets, n, time.Now()) }
