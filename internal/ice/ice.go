// Package ice is which STUN and TURN servers a participant uses, and with what
// credentials.
package ice

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what coturn's REST convention asks for
	"encoding/base64"
	"strconv"
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
		mac := hmac.New(sha1.New, []byte(c.Secret))
		mac.Write([]byte(username))
		servers = append(servers, Server{
			URLs: c.TURN, Username: username,
			Credential: base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		})
	}
	return servers
}
