package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ownerLock keeps a second server off a SQLite file: two would each believe to know who is connected. It
// is a lock on the open file beside it, which the kernel releases when the process ends, however it ends;
// the file itself stays, since removing it would let two servers lock two files of one name.
type ownerLock struct{ file *os.File }

// ownFile creates the database file if need be, readable by its owner alone for the addresses in it.
func ownFile(path string) (*ownerLock, error) {
	db, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	if err := db.Close(); err != nil {
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("open SQLite: %w", err)
	}
	f, err := os.OpenFile(real+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock SQLite: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		owner, _ := io.ReadAll(io.LimitReader(f, 20))
		_ = f.Close()
		return nil, fmt.Errorf("%w: %s is held by process %s: stop it, or let this server use another file or PostgreSQL",
			ErrInUse, path, strings.TrimSpace(string(owner)))
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock SQLite: %s: %w", real, err)
	}
	l := &ownerLock{file: f}
	if err := l.sign(); err != nil {
		return nil, errors.Join(fmt.Errorf("lock SQLite: %w", err), l.release())
	}
	return l, nil
}

// sign writes the process id down, for the message to the next.
func (l *ownerLock) sign() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func (l *ownerLock) release() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}
