package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// maxLog bounds reverse_tunnel.log, in bytes; one older file is kept beside it.
const maxLog = 10 << 20

// logFile is Agent/Logs/reverse_tunnel.log of a data root. It is safe for concurrent use.
type logFile struct {
	path  string
	limit int64

	mu   sync.Mutex
	file *os.File
	size int64
}

// openLog opens the log for appending. The caller closes it.
func openLog(data string) (*logFile, error) {
	l := &logFile{path: filepath.Join(data, "Agent", "Logs", "reverse_tunnel.log"), limit: maxLog}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return nil, fmt.Errorf("make the log folder: %w", err)
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *logFile) open() error {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return fmt.Errorf("open the log: %w", err)
	}
	l.file, l.size = file, info.Size()
	return nil
}

// Write adds to the log. When it is full it becomes the older file, or, when another
// program holds it open, it is emptied.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(p)) > l.limit && l.size > 0 {
		if err := l.turn(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

// turn makes room.
func (l *logFile) turn() error {
	l.file.Close()
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		if err := os.Truncate(l.path, 0); err != nil {
			return fmt.Errorf("empty the log: %w", err)
		}
	}
	return l.open()
}

// Close closes the log.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
