package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"signald/internal/fault"
)

// Meeting is the answer to creating one.
type Meeting struct {
	MeetingID string    `json:"meeting_id"`
	Name      string    `json:"name"`
	HostKey   string    `json:"host_key"`
	JoinURL   string    `json:"join_url"`
	CreatedAt time.Time `json:"created_at"`
}

// CreateMeeting creates a meeting; body is that of POST /api/v1/meetings.
func CreateMeeting(ctx context.Context, base string, body map[string]any) (Meeting, error) {
	var m Meeting
	err := Request(ctx, http.MethodPost, base, "/api/v1/meetings", "", body, &m)
	return m, err
}

// Request makes one request of the HTTP API. What the server refuses is a
// *fault.Error.
func Request(ctx context.Context, method, base, path, bearer string, body, into any) error {
	return RequestWith(ctx, http.DefaultClient, method, base, path, bearer, body, into)
}

// RequestWith is Request by way of another HTTP client.
func RequestWith(ctx context.Context, web *http.Client, method, base, path, bearer string, body, into any) error {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(base, "/")+path, payload)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := web.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		f := &fault.Error{}
		if json.Unmarshal(answer, f) == nil && f.Code != "" {
			return f
		}
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
