package chat_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/chat"
	"signald/internal/fault"
	"signald/internal/participants"
	"signald/internal/protocol"
	"signald/internal/rooms"
	"signald/internal/signaling"
	"signald/internal/socketio"
	"signald/internal/store"
	"signald/internal/testsqlite"
	"signald/internal/upkeep"
)

// mute is a store that does what it is asked and, when told so, says that it is away.
type mute struct {
	*store.Store
	away bool
}

func (m *mute) InMeeting(ctx context.Context, id string, fn func(context.Context, *store.Tx) error) error {
	if err := m.Store.InMeeting(ctx, id, fn); err != nil || !m.away {
		return err
	}
	return fmt.Errorf("the test wants it so: %w", store.ErrUnavailable)
}

type box struct {
	mu     sync.Mutex
	frames []string
}

func (b *box) Send(f rooms.Frame) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.frames = append(b.frames, string(f.(socketio.Frame).Bytes()))
	return true
}

func (b *box) Track() uint64 { return 0 }
func (b *box) Confirm()      {}
func (b *box) Overrun()      {}

func (b *box) Cut(string) {}

func (b *box) heard(text string) (times int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.frames {
		times += strings.Count(f, `"text":"`+text+`"`)
	}
	return times
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What was stored though nobody could tell its sender is told to the others all the
// same, and once, whether the sender says it again or not.
func TestMessageThatWasStoredUnansweredIsToldOnce(t *testing.T) {
	ctx := t.Context()
	db, err := store.Open(ctx, testsqlite.URL(t), zerolog.Nop())
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	_, err = db.CreateMeeting(ctx, store.NewMeeting{ID: "k", Policy: store.Policy{Chat: true, MaxPeers: 8}})
	must(t, err)
	all := rooms.New(signaling.Encoder{}, participants.Loader(db), rooms.Options{NodeID: "n", Spoken: chat.Spoken(db, signaling.Marshaled)})
	people := participants.New(db, all, participants.Options{NodeID: "n", Alone: true, Grace: time.Minute, Log: zerolog.Nop()})
	running, stop := context.WithCancel(ctx)
	var sweeping sync.WaitGroup
	sweeping.Go(func() { upkeep.Runner{Log: zerolog.Nop()}.Run(running, people.Tasks()...) })
	t.Cleanup(func() { stop(); sweeping.Wait() })
	join := func(user string) (*participants.Seat, *box) {
		b := &box{}
		joined, err := people.Join(ctx, &protocol.Join{MeetingID: "k", UserID: user, Name: user, Version: 2}, participants.Connection{ID: user, Out: b})
		must(t, err)
		joined.Seat.Start()
		return joined.Seat, b
	}
	a, _ := join("a")
	_, b := join("b")
	silent := &mute{Store: db}
	talk := chat.New(silent, people, signaling.Marshaled, time.Minute)

	silent.away = true
	for _, text := range []string{"one", "two"} {
		if _, err := talk.Say(ctx, a, &protocol.Chat{ClientID: text, Text: text}); fault.CodeOf(err) != fault.Unavailable {
			t.Fatalf("%s: %v", text, err)
		}
	}
	silent.away = false
	_, err = talk.Say(ctx, a, &protocol.Chat{ClientID: "one", Text: "one"})
	must(t, err)
	deadline := time.Now().Add(30 * time.Second)
	for b.heard("two") == 0 {
		if time.Now().After(deadline) {
			t.Fatal("what nobody said again was never told")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if b.heard("one") != 1 || b.heard("two") != 1 {
		t.Errorf("told %d and %d times", b.heard("one"), b.heard("two"))
	}
}
