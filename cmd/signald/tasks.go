package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"signald/internal/admin"
	"signald/internal/store"
)

// healthCommand asks the server of the same settings whether it is well: for containers, which have
// no other program to ask with.
type healthCommand struct {
	Config `embed:""`

	Timeout time.Duration `default:"3s" help:"How long the answer may take."`
}

func (h *healthCommand) run(ctx context.Context, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	if err := h.ask(ctx); err != nil {
		fmt.Fprintln(stderr, "signald:", err)
		return 1
	}
	fmt.Fprintln(stdout, "ready")
	return 0
}

func (h *healthCommand) ask(ctx context.Context) error {
	host, port, _ := net.SplitHostPort(h.Listen) // checked by Validate
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "https"
	if h.tlsMode() == "off" {
		scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+h.BasePath+"/readyz", nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		// It is ourselves, under a name that the certificate need not have.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: h.Domain}, //nolint:gosec // see above
	}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // what there is of it
		return fmt.Errorf("not ready: %s: %s", resp.Status, body)
	}
	return nil
}

// migrateCommand is for a database whose server has no right to change the schema.
type migrateCommand struct {
	Config `embed:""`
}

func (m *migrateCommand) run(ctx context.Context, stdout, stderr io.Writer) int {
	s, err := store.Open(ctx, m.DatabaseURL, m.logger(stderr))
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		fmt.Fprintln(stderr, "signald: migrate:", err)
		return 1
	}
	fmt.Fprintln(stdout, "the schema is up to date")
	return 0
}

// shortestToken is how many characters the admin's token has at least.
const shortestToken = 16

// hashCommand makes a setting that does not tell the token.
type hashCommand struct{}

func (hashCommand) run(stdin io.Reader, stdout, stderr io.Writer) int {
	line, err := bufio.NewReader(io.LimitReader(stdin, 4096)).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	token := strings.TrimRight(line, "\r\n")
	var hash string
	switch {
	case err == nil && len(token) < shortestToken:
		err = fmt.Errorf("a token of less than %d characters can be guessed", shortestToken)
	case err == nil:
		hash, err = admin.Hash(token)
	}
	if err != nil {
		fmt.Fprintln(stderr, "signald: hash:", err)
		return 1
	}
	fmt.Fprintln(stdout, hash)
	return 0
}
