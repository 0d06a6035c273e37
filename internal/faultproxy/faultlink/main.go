// Faultlink is a link that goes wrong as a test wants it, for tests that are not in Go.
//
//	faultlink HOST:PORT
//
// It prints its own address. Each line of its input is then a fault, answered by "ok" when it is in force;
// with the input the link ends.
//
//	swallow                   requests for a WebSocket get no answer
//	dead client|server|both   nothing reaches that end any more, and nobody is told
//	drop client|server TEXT   the next message to that end with TEXT in it is lost; "lost" is printed then
//	refuse STATUS BODY        each new connection gets this answer, of type text/html
//	reset                     all connections break
//	heal                      all faults end
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"signald/internal/faultproxy"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: faultlink HOST:PORT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "faultlink:", err)
		os.Exit(1)
	}
}

func run(server string, in io.Reader, out io.Writer) error {
	p, err := faultproxy.New(server)
	if err != nil {
		return err
	}
	defer p.Close()
	var mu sync.Mutex
	say := func(line string) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintln(out, line)
	}
	say(p.Addr())
	for lines := bufio.NewScanner(in); lines.Scan(); {
		lost, err := obey(p, lines.Text())
		if err != nil {
			return err
		}
		say("ok")
		if lost != nil {
			go func() {
				<-lost
				say("lost")
			}()
		}
	}
	return nil
}

// obey does what a line says. The channel, if there is one, is closed when the message is lost.
func obey(p *faultproxy.Proxy, line string) (lost <-chan struct{}, err error) {
	fault, rest, _ := strings.Cut(line, " ")
	what, text, _ := strings.Cut(rest, " ")
	ways := map[string][]faultproxy.Direction{
		"client": {faultproxy.ToClient},
		"server": {faultproxy.ToServer},
		"both":   {faultproxy.ToClient, faultproxy.ToServer},
	}[what]
	switch {
	case fault == "swallow":
		p.SwallowUpgrades(true)
	case fault == "dead" && ways != nil:
		p.Dead(ways...)
	case fault == "drop" && len(ways) == 1 && text != "":
		return p.Drop(ways[0], text), nil
	case fault == "refuse":
		status, err := strconv.Atoi(what)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		p.Refuse(func(int) string { return faultproxy.Answer(status, "text/html", text) })
	case fault == "reset":
		p.Reset()
	case fault == "heal":
		p.Heal()
	default:
		return nil, fmt.Errorf("%q is no fault", line)
	}
	return nil, nil
}
