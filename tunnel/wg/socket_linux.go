package wg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"

	wgdevice "golang.zx2c4.com/wireguard/device"
)

// socketDir is where wg(8) and wgctrl look for the devices of user space.
const socketDir = "/var/run/wireguard"

// controlSocket lets wg(8) and wgctrl speak to a device of this process.
type controlSocket struct {
	path    string
	dev     *wgdevice.Device
	serving sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	listener *net.UnixListener
	conns    map[net.Conn]bool
}

// listenControl opens the socket of a device. It takes the place of a socket file that nobody
// answers, left behind by a process that was killed.
func listenControl(ctx context.Context, name string, dev *wgdevice.Device) (*controlSocket, error) {
	s := &controlSocket{path: filepath.Join(socketDir, name+".sock"), dev: dev, conns: make(map[net.Conn]bool)}
	if c, err := new(net.Dialer).DialContext(ctx, "unix", s.path); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("%w: %s is in use", ErrForeignLink, s.path)
	}
	if err := s.renew(); err != nil {
		return nil, err
	}
	return s, nil
}

// renew makes the socket file and serves it, also when somebody deleted the one there was.
func (s *controlSocket) renew() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	l, err := bindSocket(s.path)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoSocketDir, err)
	}
	if s.listener != nil {
		_ = s.listener.Close()
	}
	s.listener = l
	s.serving.Go(func() { s.serve(l) })
	return nil
}

// bindSocket puts a socket at path that only its owner can reach. It is made in a private
// directory and then moved, so that it is at no moment open to others.
func bindSocket(path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // wg(8) expects it so
		return nil, err
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".borealis-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(private) }()
	born := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: born, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(born, 0o600), os.Rename(born, path)); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// serve answers on one listener until it is closed.
func (s *controlSocket) serve(l *net.UnixListener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if !s.keep(c) {
			_ = c.Close()
			return
		}
		s.serving.Go(func() {
			s.dev.IpcHandle(c) // closes c
			s.forget(c)
		})
	}
}

// keep remembers a connection so that close can end it; it returns false after close.
func (s *controlSocket) keep(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[c] = true
	}
	return !s.closed
}

// forget drops a connection that has ended.
func (s *controlSocket) forget(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// close ends all connections, removes the socket file and waits for what served it.
func (s *controlSocket) close() error {
	s.mu.Lock()
	s.closed = true
	_ = s.listener.Close()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove control socket: %w", err)
	}
	return nil
}
