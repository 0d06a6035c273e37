package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signald/internal/store"
)

func TestReaderSeesWhatTheServerWritesAndWritesNothing(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			url, ctx := db.url(t), context.Background()
			if strings.HasSuffix(url, ":memory:") {
				if _, err := store.OpenReadOnly(ctx, url); err == nil {
					t.Error("a database in memory was opened")
				}
				return
			}
			server := open(t, url)
			create := func(id string) {
				t.Helper()
				if _, err := server.CreateMeeting(ctx, store.NewMeeting{ID: id, Name: "name"}); err != nil {
					t.Fatal(err)
				}
			}
			create("first")
			reader, err := store.OpenReadOnly(ctx, url) // the server goes on
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = reader.Close() }()
			create("second")
			page, err := reader.Audit(ctx, store.AuditQuery{})
			if err != nil || len(page.Items) != 2 || page.Items[0].ID != "second" {
				t.Errorf("%+v, %v", page, err)
			}
			if bad, err := reader.VerifyAudit(ctx, nil); bad != nil || err != nil {
				t.Errorf("%+v, %v", bad, err)
			}
			if _, err := reader.CreateMeeting(ctx, store.NewMeeting{ID: "third"}); err == nil {
				t.Error("a reader wrote")
			}
			create("fourth")
		})
	}
}

func TestReaderRefusesOtherSchemas(t *testing.T) {
	for _, db := range databases {
		t.Run(db.name, func(t *testing.T) {
			url, ctx := db.url(t), context.Background()
			if strings.HasSuffix(url, ":memory:") {
				t.Skip("nobody else sees it")
			}
			if isSQLite(url) {
				if _, err := store.OpenReadOnly(ctx, url); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("no file: %v", err)
				}
				files, _ := filepath.Glob(strings.TrimPrefix(url, "sqlite:") + "*")
				if len(files) > 0 {
					t.Errorf("it made %v", files)
				}
			} else if _, err := store.OpenReadOnly(ctx, url); err == nil || !strings.Contains(err.Error(), "no database of signald") {
				t.Errorf("empty: %v", err)
			}
			if err := open(t, url).Close(); err != nil {
				t.Fatal(err)
			}
			for version, want := range map[int]string{99: "newer than this program", 0: "start the server once"} {
				side := raw(t, url)
				exec(t, side, `DELETE FROM goose_db_version`,
					fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, true)`, version))
				if _, err := store.OpenReadOnly(ctx, url); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("version %d: %v", version, err)
				}
			}
		})
	}
}
