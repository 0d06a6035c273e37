package httpapi

import "net/http"

func (a *API) healthRoutes() []route {
	return []route{{
		method: "GET", path: "/healthz", name: "alive", summary: "Whether the process runs.",
		answers: answers{http.StatusOK: health{}}, handler: http.HandlerFunc(a.alive),
	}, {
		method: "GET", path: "/readyz", name: "ready", summary: "Whether new clients should be sent here.",
		about:   "Not while the database does not answer, connections cannot be accepted, or the server is about to stop.",
		answers: answers{http.StatusOK: readiness{}, http.StatusServiceUnavailable: readiness{}},
		handler: http.HandlerFunc(a.ready),
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
	if err := a.store.Ping(r.Context()); err != nil {
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
