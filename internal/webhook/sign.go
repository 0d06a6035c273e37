package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// Secret is a key shared with the receiver.
type Secret []byte

// ParseSecret reads whsec_ and the base64 of 24 to 64 bytes, as Standard Webhooks writes them.
func ParseSecret(s string) (Secret, error) {
	encoded, found := strings.CutPrefix(s, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !found || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("it is whsec_ and the base64 of 24 to 64 bytes")
	}
	return key, nil
}

// sign is the header webhook-signature of Standard Webhooks: one signature for each secret.
func sign(secrets []Secret, id string, at time.Time, body []byte) string {
	signatures := make([]string, len(secrets))
	for i, key := range secrets {
		mac := hmac.New(sha256.New, key)
		_, _ = io.WriteString(mac, id+"."+strconv.FormatInt(at.Unix(), 10)+".") // a hash takes everything
		mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}
