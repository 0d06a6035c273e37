package audit_test

import (
	"context"
	"crypto/sha256"
	"testing"
	"testing/synctest"
	"time"

	"signald/internal/audit"
	"signald/internal/store"
)

// rowsAt is a chain of so many rows in virtual time, where checking 500 takes 50 ms.
type rowsAt struct {
	head, bad int64
	checked   int64
}

func (c *rowsAt) VerifyAuditOn(_ context.Context, chain string, known store.ChainPoint, rows int64) (store.Verified, error) {
	hash := sha256.New().Sum(nil)
	if chain == store.Events {
		return store.Verified{At: store.ChainPoint{Hash: hash}, Head: store.ChainPoint{Hash: hash}}, nil
	}
	time.Sleep(50 * time.Millisecond)
	at := min(c.head, known.Seq+rows)
	v := store.Verified{At: store.ChainPoint{Seq: at, Hash: hash}, Head: store.ChainPoint{Seq: c.head, Hash: hash}}
	if c.bad > 0 && at >= c.bad {
		v.At.Seq, v.Bad = c.bad-1, c.bad
	}
	c.checked += v.At.Seq - known.Seq
	return v, nil
}

func TestLookIsBoundedAndGoesOnWhereTheLastHasStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := &rowsAt{head: 5000}
		w := audit.NewWatch(chain)
		look := func() audit.Chain {
			t.Helper()
			began := time.Now()
			c, err := w.Look(t.Context())
			if took := time.Since(began); err != nil || took > 300*time.Millisecond || !c.Events.Intact {
				t.Errorf("%+v after %s, %v", c, took, err)
			}
			return c.Creations
		}
		c := look()
		for last := int64(0); c.Rows < c.Head && c.Rows > last; {
			last, c = c.Rows, look()
		}
		if !c.Intact || c.Rows != 5000 || c.UpTo == "" || chain.checked != 5000 {
			t.Errorf("%+v, %d rows checked", c, chain.checked)
		}
		look()
		if chain.checked != 5000 {
			t.Errorf("%d rows checked of 5000: some twice", chain.checked)
		}
		time.Sleep(25 * time.Hour) // a day later it begins again
		if c := look(); c.Rows >= 5000 || chain.checked <= 5000 {
			t.Errorf("%+v", c)
		}
		chain.bad = 3000
		for range 5 {
			c = look()
		}
		if c.Intact || c.Broken != 3000 || c.Rows != 2999 {
			t.Errorf("%+v", c)
		}
		before := chain.checked
		if c := look(); c.Intact || c.Broken != 3000 || chain.checked != before {
			t.Errorf("forgotten, or all checked again: %+v", c)
		}
	})
}

func TestLooksAtTheSameTimeCostOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := &rowsAt{head: 100_000}
		w := audit.NewWatch(chain)
		for range 20 {
			go func() { _, _ = w.Look(t.Context()) }()
		}
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if chain.checked > 3000 {
			t.Errorf("%d rows", chain.checked)
		}
	})
}
