package testredis_test

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"testing"
	"time"

	"signald/internal/testredis"
)

func ping(t *testing.T, address string) error {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", u.Host, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		return err
	}
	if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
		return err
	}
	_, err = bufio.NewReader(conn).ReadString('\n')
	return err
}

func TestServerStopsFreezesAndComesBack(t *testing.T) {
	s := testredis.New(t)
	for _, step := range []struct {
		name    string
		do      func()
		answers bool
	}{
		{"started", func() {}, true},
		{"stopped", s.Stop, false},
		{"started again", s.Start, true},
		{"frozen", s.Freeze, false},
		{"thawed", s.Thaw, true},
	} {
		step.do()
		if err := ping(t, s.URL); (err == nil) != step.answers {
			t.Errorf("%s: %v", step.name, err)
		}
	}
	if err := ping(t, testredis.URL(t)); err != nil {
		t.Errorf("the shared one: %v", err)
	}
}
