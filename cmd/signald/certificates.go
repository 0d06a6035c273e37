package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// certificates is where the certificate comes from: files, ACME, or, with neither, this server's own hand.
type certificates struct {
	tls    *tls.Config // nil: plain HTTP
	files  *certFiles
	orders *orders
}

const (
	lookAtCertificateEvery = time.Minute
	orderBackoff           = time.Hour           // Let's Encrypt allows five failures an hour
	endsSoon               = 14 * 24 * time.Hour // before the end; a quarter of its time if that is less
)

// leaf is the certificate in force; nil: none yet, or plain HTTP.
func (c *certificates) leaf() *x509.Certificate {
	switch {
	case c.tls == nil:
		return nil
	case c.files != nil:
		return c.files.current.Load().Leaf
	case c.orders != nil:
		return c.orders.leaf.Load()
	default:
		return c.tls.Certificates[0].Leaf
	}
}

// until is when the certificate ends; the zero time if there is none.
func (c *certificates) until() time.Time {
	if leaf := c.leaf(); leaf != nil {
		return leaf.NotAfter
	}
	return time.Time{}
}

// look is a task: it orders the certificate where ACME gives it, and fails as long as the certificate is not in order. So the log
// has the cause when that begins, and a line when it is over.
func (c *certificates) look(ctx context.Context) error {
	if c.orders != nil {
		if err := c.orders.order(ctx); err != nil {
			return err
		}
	}
	leaf := c.leaf()
	if leaf == nil {
		return nil
	}
	left := time.Until(leaf.NotAfter)
	switch {
	case left <= 0:
		return fmt.Errorf("the certificate has expired, on %s: browsers refuse this server", leaf.NotAfter.UTC().Format(time.RFC3339))
	case time.Now().Before(leaf.NotBefore):
		return fmt.Errorf("the certificate is not good before %s: check the clock", leaf.NotBefore.UTC().Format(time.RFC3339))
	case left < min(endsSoon, leaf.NotAfter.Sub(leaf.NotBefore)/4):
		return fmt.Errorf("the certificate ends soon, on %s, and was not renewed", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// orders has ACME give the certificate when the task says so, never because a client connects: a health check would use up
// what the CA allows.
type orders struct {
	domain  string
	manager *autocert.Manager
	leaf    atomic.Pointer[x509.Certificate]

	got chan struct{} // closed once there is a certificate
}

func newOrders(domain string, manager *autocert.Manager) *orders {
	domain, _ = normalHost("https", domain) // as clients write it
	return &orders{domain: domain, manager: manager, got: make(chan struct{})}
}

// patienceForFirst is how long a handshake waits for the first certificate, which is being ordered as the server starts.
const patienceForFirst = 8 * time.Second

var errNoCertificate = errors.New("there is no certificate yet: the log says why")

func (o *orders) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if slices.Equal(hello.SupportedProtos, []string{acme.ALPNProto}) {
		return o.manager.GetCertificate(hello) // the CA's own look
	}
	if !strings.EqualFold(strings.TrimSuffix(hello.ServerName, "."), o.domain) { // no order, and no other certificate
		return o.manager.GetCertificate(hello)
	}
	if o.leaf.Load() == nil {
		select {
		case <-o.got:
		case <-time.After(patienceForFirst):
			return nil, errNoCertificate
		}
	}
	return o.manager.GetCertificate(o.ours())
}

// ours is a hello of a client that takes ECDSA: for others there would have to be another certificate.
func (o *orders) ours() *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: o.domain, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	}
}

// order gets the certificate from memory, the cache, or the CA.
func (o *orders) order(context.Context) error {
	cert, err := o.manager.GetCertificate(o.ours())
	if err != nil {
		return fmt.Errorf("no certificate from the ACME server: %w", err)
	}
	if o.leaf.Swap(cert.Leaf) == nil { // one task orders
		close(o.got)
	}
	return nil
}
