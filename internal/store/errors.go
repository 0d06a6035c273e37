package store

import "errors"

// What the store's calls answer, to be asked with errors.Is. The cause stays wrapped inside.
var (
	ErrMeetingExists       = errors.New("meeting exists")
	ErrMeetingNotFound     = errors.New("meeting not found")
	ErrParticipantExists   = errors.New("participant exists")
	ErrParticipantNotFound = errors.New("participant not found")
	ErrMessageExists       = errors.New("message exists")
	ErrMessageNotFound     = errors.New("message not found")

	// ErrBadText: a text holds NUL or invalid UTF-8, or is too long for an index. Said before any SQL,
	// since the two databases would each answer in their own way.
	ErrBadText   = errors.New("text cannot be stored")
	ErrBadCursor = errors.New("malformed audit cursor")

	// ErrUnavailable: the database is away, frozen, full or locked. The call may be tried again. When
	// the connection broke during a commit, the change may have been made all the same.
	ErrUnavailable = errors.New("store unavailable")

	// ErrSchemaNewer and ErrInUse: reasons for Open to refuse.
	ErrSchemaNewer = errors.New("database schema is newer than this program")
	ErrInUse       = errors.New("database is in use by another server")
)

var ours = []error{
	ErrMeetingExists, ErrMeetingNotFound, ErrParticipantExists, ErrParticipantNotFound,
	ErrMessageExists, ErrMessageNotFound, ErrBanNotFound, ErrBadText, ErrBadCursor, ErrUnavailable,
}

func isOurs(err error) bool {
	for _, e := range ours {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
