package httpapi

import (
	"net/http"

	"signald/internal/limits"
	"signald/internal/participants"
	"signald/internal/protocol"
)

// guess begins an attempt at a secret that people choose, and waits for its turn.
func (a *API) guess(r *http.Request, at *limits.Guesses) (limits.Guess, error) {
	guess, wait, ok := at.Begin(r.Context(), limits.Attempt{IP: a.opts.ClientIP(r), Lane: r.RemoteAddr})
	if !ok {
		return guess, participants.TooManyGuesses(wait)
	}
	return guess, nil
}

// guessKey is guess for a meeting's key. One of 100 random bits is no guess.
func (a *API) guessKey(r *http.Request, key string) (limits.Guess, error) {
	if !protocol.Guessable(key) {
		return limits.Guess{}, nil
	}
	return a.guess(r, a.opts.Guesses)
}
