package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"
)

func (a *API) healthRoutes() []route {
	return []route{{
		method: "GET", path: "/healthz", name: "alive", summary: "Whether the process runs.",
		answers: answers{http.StatusOK: health{}}, unpaced: true, handler: http.HandlerFunc(a.alive),
	}, {
		method: "GET", path: "/readyz", name: "ready", summary: "Whether new clients should be sent here.",
		about:   "Not while the database does not answer, connections cannot be accepted, or the server is about to stop.",
		answers: answers{http.StatusOK: readiness{}, http.StatusServiceUnavailable: readiness{}},
		unpaced: true, handler: http.HandlerFunc(a.ready),
	}}
}

type health struct {
	Status string `json:"status"`
}

type readiness struct {
	Status string            `json:"status" doc:"ready, degraded (other nodes cannot be reached) or not ready"`
	Checks map[string]string `json:"checks" doc:"what was looked at, and how it is"`
}

func (a *API) alive(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, health{Status: "ok"})
}

func (a *API) ready(w http.ResponseWriter, r *http.Request) {
	checks := map[string]string{"store": "ok"}
	status := http.StatusOK
	if err := a.pinged.ask(r.Context(), a.store.Ping); err != nil {
		checks["store"], status = "unavailable", http.StatusServiceUnavailable
	}
	if a.opts.Draining() {
		checks["draining"], status = "yes", http.StatusServiceUnavailable
	}
	word := "ready"
	if a.opts.Refusing != nil && a.opts.Refusing() {
		checks["connections"], status = "refused", http.StatusServiceUnavailable
	}
	if a.opts.ClusterUp != nil {
		checks["cluster"] = "ok"
		if !a.opts.ClusterUp() { // no reason to send clients away: all nodes may see it so
			checks["cluster"], word = "down", "degraded"
		}
	}
	if status != http.StatusOK {
		word = "not ready"
	}
	answer(w, status, readiness{Status: word, Checks: checks})
}

// askEvery is how old an answer of /readyz may be: asking more often costs no more.
const askEvery = time.Second

// recent keeps the last answer to a question that strangers can have asked.
type recent struct {
	mu  sync.Mutex // held while it is asked: others wait for the same answer
	at  time.Time
	err error
}

func (r *recent) ask(ctx context.Context, question func(context.Context) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at.IsZero() || time.Since(r.at) >= askEvery {
		r.err = question(context.WithoutCancel(ctx)) // bounded in time by the store
		r.at = time.Now()
	}
	return r.err
}
