package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

var errPermission = fs.ErrPermission

// newTLS makes the TLS settings, or those of plain HTTP.
func newTLS(c *Config, log zerolog.Logger) (*certificates, error) {
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, CipherSuites: withForwardSecrecy}
	switch c.tlsMode() {
	case "off":
		return &certificates{}, nil
	case "files":
		files := &certFiles{cert: c.TLSCert, key: c.TLSKey, log: log}
		if err := files.readLocked(); err != nil {
			return nil, err
		}
		base.GetCertificate = files.get
		return &certificates{tls: base, files: files}, nil
	case "acme":
		manager, err := newManager(c)
		if err != nil {
			return nil, err
		}
		orders := newOrders(c.Domain, manager)
		base.GetCertificate = orders.get
		base.NextProtos = append(base.NextProtos, acme.ALPNProto)
		return &certificates{tls: base, orders: orders}, nil
	case "self-signed":
		cert, err := selfSigned(c.Domain)
		if err != nil {
			return nil, err
		}
		log.Warn().Msg("the certificate is self-signed: browsers will warn; set SIGNALD_DOMAIN or SIGNALD_TLS_CERT and SIGNALD_TLS_KEY")
		base.Certificates = []tls.Certificate{cert}
	}
	return &certificates{tls: base}, nil
}

// withForwardSecrecy are the ciphers of TLS 1.2; those of 1.3 are all good.
var withForwardSecrecy = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// newManager gets certificates from an ACME server, keeps them in the cache, and renews
// them a month before they expire; the old one stays while that does not work.
func newManager(c *Config) (*autocert.Manager, error) {
	client := &acme.Client{DirectoryURL: c.ACMEDirectory}
	if c.ACMECA != "" {
		pem, err := os.ReadFile(c.ACMECA)
		if err != nil {
			return nil, fmt.Errorf("read the roots of the ACME server: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the roots of the ACME server: no certificate in %s", c.ACMECA)
		}
		client.HTTPClient = &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, IdleConnTimeout: time.Minute},
		}
	}
	return &autocert.Manager{
		Prompt: autocert.AcceptTOS, HostPolicy: autocert.HostWhitelist(c.Domain), Cache: autocert.DirCache(c.ACMECache),
		Client: client, Email: c.ACMEEmail,
	}, nil
}

// certFiles is a certificate that is read again when its file changes.
type certFiles struct {
	cert, key string
	log       zerolog.Logger

	current atomic.Pointer[tls.Certificate]

	looking sync.Mutex // held while reading files: nobody waits for it
	changed time.Time  // of the file that current was read from
	looked  time.Time
}

const lookEvery = 10 * time.Second

func (f *certFiles) readLocked() error {
	info, err := os.Stat(f.cert)
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	f.current.Store(&cert)
	f.changed, f.looked = info.ModTime(), time.Now()
	return nil
}

func (f *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if f.looking.TryLock() {
		f.lookLocked()
		f.looking.Unlock()
	}
	return f.current.Load(), nil
}

func (f *certFiles) lookLocked() {
	if time.Since(f.looked) <= lookEvery {
		return
	}
	f.looked = time.Now()
	if info, err := os.Stat(f.cert); err == nil && info.ModTime().Equal(f.changed) {
		return
	}
	if err := f.readLocked(); err != nil {
		f.log.Warn().Err(err).Msg("certificate not renewed, the old one stays")
	}
}

// reload reads the files now. After an error the certificate from before stays.
func (f *certFiles) reload() error {
	f.looking.Lock()
	defer f.looking.Unlock()
	return f.readLocked()
}

func selfSigned(domain string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "signald"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if domain != "" {
		template.DNSNames = append(template.DNSNames, domain)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}
