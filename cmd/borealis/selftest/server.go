package selftest

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
)

// A countingServer answers on a port of this host, and counts who came.
type countingServer struct {
	listener net.Listener
	work     sync.WaitGroup

	mu   sync.Mutex
	came int
}

const greeting = "borealis-selftest\n"

// serveAt listens at an address and greets whoever comes.
func serveAt(ctx context.Context, address string) (*countingServer, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &countingServer{listener: l}
	s.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.came++
			s.mu.Unlock()
			_, _ = io.WriteString(conn, greeting) // whoever only knocks does not listen
			conn.Close()
		}
	})
	return s, nil
}

func (s *countingServer) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

func (s *countingServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.came
}

func (s *countingServer) close() {
	s.listener.Close()
	s.work.Wait()
}

// twoPorts serves at two ports of loopback that follow each other.
func twoPorts(ctx context.Context) (first, next *countingServer, err error) {
	for range 50 {
		if first, err = serveAt(ctx, "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		if next, err = serveAt(ctx, fmt.Sprintf("127.0.0.1:%d", first.port()+1)); err == nil {
			return first, next, nil
		}
		first.close()
	}
	return nil, nil, fmt.Errorf("find two free ports: %w", err)
}
