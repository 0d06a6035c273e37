// Package fault is what can go wrong in words that a client understands: one
// table of codes, with what each means over HTTP, and to whom it is news.
package fault

import (
	"errors"
	"net/http"
	"time"
)

// Code is stable: clients switch on it. docs/PROTOCOL.md lists them all.
type Code string

// The codes.
const (
	InvalidPayload     Code = "invalid_payload"
	UnknownEvent       Code = "unknown_event"
	UnsupportedVersion Code = "unsupported_version"
	PayloadTooLarge    Code = "payload_too_large"
	RateLimited        Code = "rate_limited"
	Unauthorized       Code = "unauthorized"
	TokenExpired       Code = "token_expired"
	Forbidden          Code = "forbidden"
	NotJoined          Code = "not_joined"
	AlreadyJoined      Code = "already_joined"
	UserInUse          Code = "user_in_use"
	MeetingNotFound    Code = "meeting_not_found"
	MeetingExists      Code = "meeting_exists"
	MeetingEnded       Code = "meeting_ended"
	MeetingLocked      Code = "meeting_locked"
	MeetingFull        Code = "meeting_full"
	BadPassword        Code = "bad_password"
	Waiting            Code = "waiting"
	Denied             Code = "denied"
	Banned             Code = "banned"
	PeerGone           Code = "peer_gone"
	NotInMeeting       Code = "not_in_meeting"
	TooLate            Code = "too_late"
	ResumeExpired      Code = "resume_expired"
	TooManyFromIP      Code = "too_many_from_ip"
	ServerFull         Code = "server_full"
	ServerDraining     Code = "server_draining"
	Unavailable        Code = "unavailable"
	NotFound           Code = "not_found"
	MethodNotAllowed   Code = "method_not_allowed"
	Internal           Code = "internal"
)

type meaning struct {
	status  int           // over HTTP
	retry   time.Duration // worth trying again after this; 0: not by itself
	message string        // unless the place where it happened knows better
}

var meanings = map[Code]meaning{
	InvalidPayload:     {http.StatusBadRequest, 0, "The request is not valid."},
	UnknownEvent:       {http.StatusBadRequest, 0, "There is no such event."},
	UnsupportedVersion: {http.StatusBadRequest, 0, "This protocol version is not supported. Use version 2."},
	PayloadTooLarge:    {http.StatusRequestEntityTooLarge, 0, "The message is too large."},
	RateLimited:        {http.StatusTooManyRequests, time.Second, "Too many requests. Wait a moment and try again."},
	Unauthorized:       {http.StatusUnauthorized, 0, "A valid credential is needed."},
	TokenExpired:       {http.StatusUnauthorized, 0, "The token has expired. Ask for a new one."},
	Forbidden:          {http.StatusForbidden, 0, "You may not do this."},
	NotJoined:          {http.StatusConflict, 0, "Join the meeting first."},
	AlreadyJoined:      {http.StatusConflict, 0, "You are in this meeting already."},
	UserInUse:          {http.StatusConflict, 0, "Someone of this name is in the meeting. Choose another name, or leave there first."},
	MeetingNotFound:    {http.StatusNotFound, 0, "There is no meeting with this key. Check the key and try again."},
	MeetingExists:      {http.StatusConflict, 0, "A meeting with this key exists already. Choose another key."},
	MeetingEnded:       {http.StatusGone, 0, "This meeting has ended."},
	MeetingLocked:      {http.StatusForbidden, 0, "The meeting is locked. Ask the host to unlock it."},
	MeetingFull:        {http.StatusConflict, 0, "The meeting is full. Try again when someone has left."},
	BadPassword:        {http.StatusForbidden, 0, "The password is wrong. Check it and try again."},
	Waiting:            {http.StatusConflict, 0, "Wait until the host lets you in."},
	Denied:             {http.StatusForbidden, 0, "The host did not let you in."},
	Banned:             {http.StatusForbidden, 0, "You were removed from this meeting and cannot join it again."},
	PeerGone:           {http.StatusNotFound, 0, "This participant has left the meeting."},
	NotInMeeting:       {http.StatusForbidden, 0, "This participant is not in your meeting."},
	TooLate:            {http.StatusConflict, 0, "It is too late for this."},
	ResumeExpired:      {http.StatusGone, 0, "Your place in the meeting is gone. Join again."},
	TooManyFromIP:      {http.StatusTooManyRequests, 5 * time.Second, "Too many connections from your address. Close another tab, or try again later."},
	ServerFull:         {http.StatusServiceUnavailable, 5 * time.Second, "This server is full. Try again later."},
	ServerDraining:     {http.StatusServiceUnavailable, time.Second, "This server is about to stop. Try again in a few seconds."},
	Unavailable:        {http.StatusServiceUnavailable, time.Second, "The server cannot do this right now. Try again in a few seconds."},
	NotFound:           {http.StatusNotFound, 0, "There is nothing here."},
	MethodNotAllowed:   {http.StatusMethodNotAllowed, 0, "This method is not allowed here."},
	Internal:           {http.StatusInternalServerError, 0, "Something went wrong on the server. Try again; if it stays, report the reference."},
}

// Status is the HTTP status of a code.
func (c Code) Status() int {
	if m, ok := meanings[c]; ok {
		return m.status
	}
	return http.StatusInternalServerError
}

// Codes lists every code.
func Codes() []Code {
	codes := make([]Code, 0, len(meanings))
	for c := range meanings {
		codes = append(codes, c)
	}
	return codes
}

// Error is an answer to a client. Its JSON is the failure of an ack and of an
// HTTP response (docs/PROTOCOL.md, "Errors").
type Error struct {
	OK           bool   `json:"ok"` // always false
	Code         Code   `json:"code"`
	Message      string `json:"message"`
	Field        string `json:"field,omitempty"`
	RetryAfterMS int64  `json:"retry_after_ms,omitempty"`
	Ref          string `json:"ref,omitempty"`    // finds the log line of an internal error
	Localized    string `json:"error,omitempty"`  // protocol 1's own text, where it has one
	Ticket       string `json:"ticket,omitempty"` // waiting: joining with it asks again

	cause error
}

// New is the code's error with its own message.
func New(code Code) *Error {
	m := meanings[code]
	e := &Error{Code: code, Message: m.message, RetryAfterMS: m.retry.Milliseconds()}
	if code == MeetingNotFound {
		e.Localized = "会议不存在" // the essay's contract, to the letter
	}
	return e
}

// Invalid is InvalidPayload for one field; message is a sentence that says what is
// wanted.
func Invalid(field, message string) *Error {
	e := New(InvalidPayload)
	e.Field, e.Message = field, message
	return e
}

// WithMessage replaces the message by a sentence that fits the place better.
func (e *Error) WithMessage(message string) *Error {
	e.Message = message
	return e
}

// RetryAfter says when trying again makes sense.
func (e *Error) RetryAfter(d time.Duration) *Error {
	e.RetryAfterMS = max((d + time.Millisecond - 1).Milliseconds(), 1) // never too early
	return e
}

// Because keeps what caused the error, for the log; clients never see it.
func (e *Error) Because(cause error) *Error {
	e.cause = cause
	return e
}

func (e *Error) Error() string {
	if e.cause != nil {
		return string(e.Code) + ": " + e.cause.Error()
	}
	return string(e.Code) + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.cause }

// Is makes errors.Is(err, fault.New(code)) compare codes.
func (e *Error) Is(target error) bool {
	var other *Error
	return errors.As(target, &other) && other.Code == e.Code
}

// CodeOf is err's code: Internal for what is no Error, empty for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
