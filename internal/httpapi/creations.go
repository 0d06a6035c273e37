package httpapi

import "signald/internal/limits"

// Creations bounds how many meetings are created: their rows in the audit are kept for ever. An office of
// 200 people creates 40 within a minute; after that three a minute are 4,380 a day, of 3 kB each.
var Creations = limits.Rule{
	Network: limits.Rate{PerSecond: 3. / 60, Burst: 60},
	Site:    limits.Rate{PerSecond: 12. / 60, Burst: 240},
}
