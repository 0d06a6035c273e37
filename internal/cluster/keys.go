package cluster

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

// Keys are what the nodes of one cluster have in common, and nobody else: what their channels are called, and what
// their messages are sealed with.
type Keys struct {
	prefix  string
	names   []byte   // of channels
	secrets [][]byte // of messages, each good; this node seals with the first
}

// FromDatabase, among the secrets of NewKeys, is the one that is kept in the database.
const FromDatabase = "database"

// NewKeys makes the keys of the nodes that share a database. root is a secret of that database, and of no other. The
// secrets are those of messages, the first for sealing; none is FromDatabase.
//
// Names follow from the root alone, so that nodes find each other while their secrets are being changed.
func NewKeys(root []byte, secrets ...string) Keys {
	k := Keys{
		prefix: "signald:" + hex.EncodeToString(derive(root, "cluster", 8)) + ":",
		names:  derive(root, "channels", 32),
	}
	if len(secrets) == 0 {
		secrets = []string{FromDatabase}
	}
	for _, s := range secrets {
		if s == FromDatabase {
			k.secrets = append(k.secrets, derive(root, "messages", 32))
		} else {
			k.secrets = append(k.secrets, derive([]byte(s), "messages", 32))
		}
	}
	return k
}

// Prefix begins the name of every channel of this cluster.
func (k Keys) Prefix() string { return k.prefix }

// channel is the name under which Redis knows the channel of something, of which it tells nothing.
func (k Keys) channel(kind, of string) string {
	mac := hmac.New(sha256.New, k.names)
	mac.Write([]byte(kind))
	mac.Write([]byte{0})
	mac.Write([]byte(of))
	return k.prefix + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// derive makes a key for one purpose.
func derive(secret []byte, purpose string, size int) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, "signald "+purpose, size)
	if err != nil {
		panic(err) // of sizes that SHA-256 cannot make
	}
	return key
}

// sealing is AES-256-GCM under the key that one sender has for as long as it runs, so that counting gives each of its
// messages a nonce of its own.
func sealing(secret []byte, sender [senderSize]byte) cipher.AEAD {
	block, err := aes.NewCipher(derive(secret, "sender "+string(sender[:]), 32))
	if err != nil {
		panic(err) // of sizes of keys that there are not
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // likewise
	}
	return aead
}
