package participants

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"signald/internal/store"
	"signald/internal/upkeep"
)

// unreachableAfter is how many meetings in a row have to find the store unavailable until a task
// takes it for away, and leaves the rest to its next run: each of them may cost a timeout. A row
// that another program has locked looks the same, but concerns one meeting.
const unreachableAfter = 3

// setbacks are the meetings in which the last try of a task failed, numbered in the order of those
// tries. They belong to one task and survive its runs.
type setbacks struct {
	tried map[string]int
	tries int
}

func (b *setbacks) failed(id string) {
	if b.tried == nil {
		b.tried = map[string]int{}
	}
	b.tries++
	b.tried[id] = b.tries
}

// perMeeting does something for every item, whatever becomes of the others. Meetings with a setback
// come last, the one that was tried least recently first, and a run fails at one of those at most:
// however many there are, and however long each takes to fail, the others are looked after in
// every run.
func perMeeting[T any](ctx context.Context, b *setbacks, items []T, meetingOf func(T) string, do func(T) error) error {
	byMeeting := map[string][]T{}
	var fresh, again []string
	for _, item := range items {
		id := meetingOf(item)
		if len(byMeeting[id]) == 0 {
			if _, failed := b.tried[id]; failed {
				again = append(again, id)
			} else {
				fresh = append(fresh, id)
			}
		}
		byMeeting[id] = append(byMeeting[id], item)
	}
	for id := range b.tried {
		if len(byMeeting[id]) == 0 { // nothing is left to do in it
			delete(b.tried, id)
		}
	}
	slices.SortFunc(again, func(x, y string) int { return cmp.Compare(b.tried[x], b.tried[y]) })

	var first error
	unavailable := 0
	try := func(id string) error {
		b.failed(id) // before it is tried: a panic is a setback, too
		err := inMeeting(byMeeting[id], do)
		if err == nil {
			delete(b.tried, id)
		}
		first = cmp.Or(first, err)
		return err
	}
	for _, id := range fresh {
		err := try(id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, store.ErrUnavailable) {
			unavailable = 0
		} else if unavailable++; unavailable == unreachableAfter {
			return fmt.Errorf("%d meetings in a row: %w", unavailable, err)
		}
	}
	for _, id := range again {
		err := try(id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			break
		}
	}
	if first == nil {
		return nil
	}
	return upkeep.Partial(fmt.Errorf("%d of %d meetings: %w", len(b.tried), len(byMeeting), first))
}

// itself is the meeting of an item that is a meeting's id.
func itself(id string) string { return id }

func meetingOf(p store.Presence) string { return p.MeetingID }

// inMeeting does something for every item of one meeting, until the store is unavailable for it.
func inMeeting[T any](items []T, do func(T) error) (first error) {
	for _, item := range items {
		err := do(item)
		if errors.Is(err, store.ErrUnavailable) {
			return err
		}
		first = cmp.Or(first, err)
	}
	return first
}
