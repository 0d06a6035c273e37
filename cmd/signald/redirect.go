package main

import (
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"time"
)

// redirector is the listener for plain HTTP beside TLS: it sends everyone to HTTPS, and
// answers what ACME asks there; nil when it is off.
type redirector struct {
	listener net.Listener
	http     *http.Server
}

// listenForHTTP is called once the port for HTTPS is known.
func (s *server) listenForHTTP() error {
	if s.config.HTTPListen == "" {
		return nil
	}
	l, err := net.Listen("tcp", s.config.HTTPListen)
	if err != nil {
		return fmt.Errorf("listen on %s for HTTP: %w%s", s.config.HTTPListen, err, portHint(err))
	}
	_, port, _ := net.SplitHostPort(s.listener.Addr().String()) // of a listener: well-formed
	var handler http.Handler = toHTTPS{config: s.config, port: port}
	if orders := s.certificates.orders; orders != nil {
		challenges := orders.manager.HTTPHandler(handler)
		handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Host = hostname(r.Host) // the manager knows the domain without a port
			challenges.ServeHTTP(w, r)
		})
	}
	s.redirector = &redirector{listener: l, http: &http.Server{
		Handler: handler, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 10 * time.Second,
		ConnState: s.connections.changed, MaxHeaderBytes: 16 << 10, ErrorLog: stdlog.New(httpErrors{s.log}, "", 0),
	}}
	return nil
}

// serve answers until close; there is nothing to lose then.
func (r *redirector) serve() {
	if r != nil {
		_ = r.http.Serve(r.listener) // ends with close
	}
}

func (r *redirector) close() {
	if r != nil {
		_ = r.http.Close()
		_ = r.listener.Close() // if it was never served
	}
}

// toHTTPS answers with the same address by HTTPS.
type toHTTPS struct {
	config *Config
	port   string
}

func (t toHTTPS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := t.config.Domain
	if host == "" {
		host = hostname(r.Host)
	}
	if host == "" {
		http.Error(w, "Which host? Use HTTPS.", http.StatusBadRequest)
		return
	}
	authority := net.JoinHostPort(host, t.port)
	if t.port == "443" {
		authority = authority[:len(authority)-len(":443")]
	}
	to := "https://" + authority + r.URL.EscapedPath()
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to) // http.Redirect would tidy the path
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusPermanentRedirect)
}

// hostname is a Host header without its port.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	if n := len(host); n > 1 && host[0] == '[' && host[n-1] == ']' {
		return host[1 : n-1]
	}
	return host
}
