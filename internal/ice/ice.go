// Package ice is which STUN and TURN servers a participant uses, and with what
// credentials.
package ice

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what coturn's REST convention asks for
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// Config names the servers.
type Config struct {
	STUN   []string      // stun: URLs
	TURN   []string      // turn: and turns: URLs
	Secret string        // shared with the TURN servers (coturn: static-auth-secret)
	TTL    time.Duration // how long credentials are good
}

// Server is one entry of RTCConfiguration.iceServers.
type Server struct {
	URLs                 []string
	Username, Credential string
}

// Servers are the servers for one participant. TURN credentials follow
// draft-uberti-behave-turn-rest: "expiry:peer", and the HMAC-SHA1 of that.
func (c Config) Servers(peerID string, now time.Time) []Server {
	servers := []Server{}
	if len(c.STUN) > 0 {
		servers = append(servers, Server{URLs: c.STUN})
	}
	if len(c.TURN) > 0 {
		username := strconv.FormatInt(now.Add(c.TTL).Unix(), 10) + ":" + peerID
		servers = append(servers, Server{URLs: c.TURN, Username: username, Credential: Credential(c.Secret, username)})
	}
	return servers
}

// Credential is the password that belongs to a username.
func Credential(secret, username string) string {
	mac := hmac.New(sha1.New, []byte(secret))
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Parse takes a username apart. One that names no participant, or no time, is none
// of ours.
func Parse(username string) (peerID string, expires time.Time, ok bool) {
	seconds, peerID, _ := strings.Cut(username, ":")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n <= 0 || peerID == "" {
		return "", time.Time{}, false
	}
	return peerID, time.Unix(n, 0), true
}
