// Package relaytest is a TURN client for tests.
package relaytest

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
)

const patience = 30 * time.Second

// Client is pion's, over a transport that a URL of ours names. It ends with the test.
func Client(t testing.TB, url, username, password string) *turn.Client {
	t.Helper()
	scheme, rest, _ := strings.Cut(url, ":")
	addr, transport, _ := strings.Cut(rest, "?transport=")
	var conn net.PacketConn
	if transport == "udp" {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		conn = c
	} else {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if scheme == "turns" {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the certificate is not what is tested
		}
		conn = turn.NewSTUNConn(c)
	}
	silent := logging.NewDefaultLoggerFactory()
	silent.DefaultLogLevel = logging.LogLevelDisabled
	c, err := turn.NewClient(&turn.ClientConfig{LoggerFactory: silent,
		STUNServerAddr: addr, TURNServerAddr: addr, Conn: conn, Username: username, Password: password, Realm: "signald",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); _ = conn.Close() })
	return c
}

// Allocate asks for a relay.
func Allocate(t testing.TB, c *turn.Client) (net.PacketConn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return c.AllocateWithContext(ctx)
}
