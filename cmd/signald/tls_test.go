package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// pair is a certificate in files, for one name.
type pair struct {
	cert, key string
	written   time.Time
}

// write makes a new certificate for name and puts it into the files.
func (p *pair) write(t testing.TB, name string) {
	t.Helper()
	cert, err := selfSigned(name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	p.put(t, p.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	p.put(t, p.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
}

// put writes a file, each time a second younger.
func (p *pair) put(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	p.written = p.written.Add(time.Second)
	if err := os.Chtimes(path, p.written, p.written); err != nil {
		t.Fatal(err)
	}
}

func newPair(t testing.TB) *pair {
	dir := t.TempDir()
	return &pair{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), written: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
}

// shown is the name in the certificate that a client would be shown now.
func shown(t testing.TB, config *tls.Config) string {
	t.Helper()
	cert, err := config.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.DNSNames[len(leaf.DNSNames)-1]
}

func TestCertificateIsReadAgainWhenItChanges(t *testing.T) {
	p := newPair(t)
	synctest.Test(t, func(t *testing.T) {
		p.write(t, "first.example")
		var log bytes.Buffer
		made, err := newTLS(valid(func(c *Config) { c.TLSCert, c.TLSKey = p.cert, p.key }), zerolog.New(&log))
		if err != nil {
			t.Fatal(err)
		}
		config := made.tls
		expect := func(when, want string) {
			t.Helper()
			if got := shown(t, config); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		expect("at first", "first.example")
		p.write(t, "second.example")
		expect("at once", "first.example") // files are not looked at for every handshake
		time.Sleep(lookEvery + time.Millisecond)
		expect("a while after the renewal", "second.example")
		if log.Len() > 0 {
			t.Errorf("log: %s", &log)
		}

		// A renewal that goes wrong in every way there is.
		for _, broken := range []func(){
			func() { p.put(t, p.cert, []byte("no certificate")) },
			func() { p.put(t, p.cert, nil) },
			func() { p.write(t, "third.example"); p.put(t, p.key, []byte("half a key")) },
			func() { other := newPair(t); other.write(t, "x"); b, _ := os.ReadFile(other.key); p.put(t, p.key, b) },
			func() { _ = os.Remove(p.cert) },
		} {
			log.Reset()
			broken()
			time.Sleep(lookEvery + time.Millisecond)
			expect("after a broken renewal", "second.example")
			if !strings.Contains(log.String(), "the old one stays") || !strings.Contains(log.String(), `"level":"warn"`) {
				t.Errorf("log: %s", &log)
			}
			if strings.Contains(log.String(), "half a key") {
				t.Errorf("the log has the file's content: %s", &log)
			}
		}
		p.write(t, "fourth.example")
		time.Sleep(lookEvery + time.Millisecond)
		expect("once it is mended", "fourth.example")
	})
}

func TestHandshakesDuringARenewal(t *testing.T) {
	p := newPair(t)
	p.write(t, "first.example")
	f := &certFiles{cert: p.cert, key: p.key, log: zerolog.Nop()}
	if err := f.readLocked(); err != nil {
		t.Fatal(err)
	}
	p.write(t, "second.example")
	f.looked = time.Time{}
	f.looking.Lock() // somebody else is reading, for however long
	if cert, err := f.get(nil); err != nil || cert == nil {
		t.Errorf("%v, %v", cert, err)
	}
	f.looking.Unlock()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if cert, err := f.get(nil); err != nil || cert == nil {
					t.Errorf("%v, %v", cert, err)
				}
			}
		})
	}
	all.Wait()
	if got := shown(t, &tls.Config{GetCertificate: f.get}); got != "second.example" { //nolint:gosec // never serves
		t.Errorf("shown %s", got)
	}
}

func TestServesTheCertificateOfTheFiles(t *testing.T) {
	p := newPair(t)
	p.write(t, "meet.example.org")
	r := start(t, serveArgs(t, "--tls-cert="+p.cert, "--tls-key="+p.key))
	roots := x509.NewCertPool()
	b, err := os.ReadFile(p.cert)
	if err != nil || !roots.AppendCertsFromPEM(b) {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", strings.TrimPrefix(r.url, "https://"), &tls.Config{RootCAs: roots, ServerName: "meet.example.org"}) //nolint:gosec // the default version
	if err != nil {
		t.Fatalf("%s: %v", r.url, err)
	}
	_ = conn.Close()
}

func TestACMEIsForTheDomainAlone(t *testing.T) {
	made, err := newTLS(valid(func(c *Config) { c.Domain, c.ACMECache = "meet.example.org", t.TempDir() }), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	config := made.tls
	if _, err := config.GetCertificate(&tls.ClientHelloInfo{ServerName: "evil.example"}); err == nil || !strings.Contains(err.Error(), "not configured") {
		t.Errorf("for another name: %v", err)
	}
	found := false
	for _, proto := range config.NextProtos {
		found = found || proto == "acme-tls/1"
	}
	if !found {
		t.Errorf("protocols %v", config.NextProtos)
	}
}

func TestPlainHTTPHasNoTLS(t *testing.T) {
	if made, err := newTLS(valid(nil), zerolog.Nop()); made.tls != nil || err != nil {
		t.Errorf("%v, %v", made, err)
	}
}

// A certificate that ends soon, or has ended, is a failing task with its end: a warning when it begins.
func TestCertificateThatEndsIsSaid(t *testing.T) {
	for left, want := range map[time.Duration]string{-time.Hour: "has expired", 10 * 24 * time.Hour: "ends soon", 60 * 24 * time.Hour: ""} {
		leaf := &x509.Certificate{NotBefore: time.Now().Add(-80 * 24 * time.Hour), NotAfter: time.Now().Add(left)}
		files := &certFiles{}
		files.current.Store(&tls.Certificate{Leaf: leaf})
		c := &certificates{tls: &tls.Config{}, files: files} //nolint:gosec // never used
		err := c.look(t.Context())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v left: %v", left, err)
		}
		if !c.until().Equal(leaf.NotAfter) {
			t.Errorf("until %v", c.until())
		}
	}
}
