package store_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"signald/internal/store"
	"signald/internal/testpg"
)

func TestServersStartingAtOnceOnEmptyPostgreSQLAllRun(t *testing.T) {
	t.Parallel()
	one := time.Now()
	open(t, testpg.URL(t))
	alone := time.Since(one) // on this machine, today
	url := testpg.URL(t)
	began := time.Now()
	var migrated sync.Map
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			log := zerolog.New(zerolog.TestWriter{T: t}).Hook(zerolog.HookFunc(func(_ *zerolog.Event, _ zerolog.Level, message string) {
				migrated.Store(i, message)
			}))
			s, err := store.Open(context.Background(), url, log)
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			defer func() { _ = s.Close() }()
			if _, err := s.CreateMeeting(context.Background(), store.NewMeeting{ID: fmt.Sprint("k", i)}); err != nil {
				t.Errorf("create: %v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(began); took > 4*time.Second+5*alone {
		t.Errorf("took %v, one alone %v: they wait too long for one another", took, alone)
	}
	count := 0
	migrated.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("%d of them migrated", count)
	}
	page, err := open(t, url).Audit(context.Background(), store.AuditQuery{})
	if err != nil || len(page.Items) != 5 {
		t.Errorf("%d meetings, %v", len(page.Items), err)
	}
}

func TestSecondServerOnOneSQLiteFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signald.db")
	var wg sync.WaitGroup
	stores := make([]*store.Store, 8)
	for i := range stores {
		wg.Go(func() {
			s, err := store.Open(context.Background(), "sqlite:"+path, zerolog.Nop())
			if err != nil && (!errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), path)) {
				t.Errorf("open: %v, want ErrInUse and the path", err)
			}
			stores[i] = s
		})
	}
	wg.Wait()
	var owner *store.Store
	for _, s := range stores {
		if s != nil && owner != nil {
			t.Fatal("two servers own the file")
		}
		if s != nil {
			owner = s
		}
	}
	if owner == nil {
		t.Fatal("no server owns the file")
	}

	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(context.Background(), "sqlite:"+link, zerolog.Nop())
	if !errors.Is(err, store.ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("open by another name: %v, want ErrInUse and the owner's process", err)
	}
	if err := owner.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, "sqlite:"+link)
}

func TestNewSQLiteFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signald.db")
	s := open(t, "sqlite:"+path)
	if _, err := s.CreateMeeting(context.Background(), store.NewMeeting{ID: "k"}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 3 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v", filepath.Base(f), info.Mode())
		}
	}
}

func TestSecondStartFindsEverything(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			url := db.url(t)
			s := open(t, url)
			created, err := s.CreateMeeting(context.Background(), store.NewMeeting{ID: "k"})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again, _, _, err := open(t, url).Meeting(context.Background(), "k")
			if err != nil || string(again.Hash) != string(created.Hash) {
				t.Errorf("%v, %v", again, err)
			}
		})
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			url := db.url(t)
			if err := open(t, url).Close(); err != nil {
				t.Fatal(err)
			}
			side := raw(t, url)
			applied := "true"
			if isSQLite(url) {
				applied = "1"
			}
			exec(t, side, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, `+applied+`)`)
			_, err := store.Open(context.Background(), url, zerolog.Nop())
			if !errors.Is(err, store.ErrSchemaNewer) || !strings.Contains(err.Error(), "99999") {
				t.Fatalf("open: %v, want ErrSchemaNewer and the version", err)
			}
			exec(t, side, `DELETE FROM goose_db_version WHERE version_id = 99999`)
			open(t, url) // nothing is left locked
		})
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	garbage := filepath.Join(t.TempDir(), "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]error{
		"postgres://u:secret@" + nobody + "/x?sslmode=disable": store.ErrUnavailable,
		"postgres://u:secret@%zz/":                             nil,
		"mysql://u:secret@localhost/x":                         nil,
		"sqlite:" + filepath.Join(t.TempDir(), "no", "folder"): os.ErrNotExist,
		"sqlite:" + t.TempDir():                                nil,
		"sqlite:":                                              nil,
		"sqlite:" + garbage:                                    nil,
		"":                                                     nil,
	} {
		s, err := store.Open(context.Background(), url, zerolog.Nop())
		if err == nil {
			_ = s.Close()
		}
		if err == nil || want != nil && !errors.Is(err, want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("open %q: %v", url, err)
		}
	}
}
