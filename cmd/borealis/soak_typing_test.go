//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"
)

// connectAll brings the tunnels of all devices up.
func (s *soak) connectAll(ids []string, when string) {
	s.b.Helper()
	var mu sync.Mutex
	var took []time.Duration
	var work errgroup.Group
	work.SetLimit(8)
	began := time.Now()
	for i, id := range ids {
		work.Go(func() error {
			c := s.of(i, id)
			start := time.Now()
			c.connect(s.b.Context())
			c.untilUp(s.b.Context())
			mu.Lock()
			defer mu.Unlock()
			took = append(took, time.Since(start))
			return nil
		})
	}
	_ = work.Wait()
	s.note(fmt.Sprintf("%d tunnels connect, eight at a time (%s): altogether; each p50 / p99", len(ids), when),
		"%.1f s; %s", time.Since(began).Seconds(), quantiles(took, 0.5, 0.99))
}

// streamsOfAnOperator is how many terminals one operator has open; the engine allows 64.
const streamsOfAnOperator = 50

// of is a client for the i-th device. Its operator's next is a round of all operators later: nobody opens fifty
// terminals within a second.
func (s *soak) of(i int, device string) *client {
	by := s.operators[i%len(s.operators)]
	return &client{t: s.b, base: by.base, token: by.token, http: by.http, device: device}
}

// operator is the client of one more operator, at an address of loopback that is nobody else's.
func (s *soak) operator() *client {
	c := newClient(s.b, s.client.base, s.run("token", "new", "--operator", "admin", "--data", s.data))
	from := &net.TCPAddr{IP: net.IPv4(127, 2, 0, byte(1+len(s.operators)))}
	c.http.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: from}).DialContext
	c.http.Transport.(*http.Transport).MaxIdleConnsPerHost = streamsOfAnOperator
	return c
}

func (s *soak) disconnectAll(ids []string) {
	s.b.Helper()
	var work errgroup.Group
	work.SetLimit(8)
	for i, id := range ids {
		work.Go(func() error {
			c := s.of(i, id)
			c.do(s.b.Context(), http.MethodDelete, "/api/tunnel/disconnect?force=true&device_id="+id, nil, nil)
			return nil
		})
	}
	_ = work.Wait()
}

// openFor is how long the opening of all terminals takes: a thousand operators do not come within a second.
const openFor = 20 * time.Second

// typing keeps a terminal open on each device and types a key into it every second; the terminals
// and tunnels are ended and made anew one after the other. It returns how long each echo took, and how many terminals there were.
func (s *soak) typing(ids []string, long time.Duration) (took []time.Duration, fresh int) {
	s.b.Helper()
	ctx, stop := context.WithTimeout(s.b.Context(), long)
	defer stop()
	var mu sync.Mutex
	var broken []error
	var work sync.WaitGroup
	for i, id := range ids {
		c := s.of(i, id)
		work.Go(func() {
			for ctx.Err() == nil {
				echoes, err := s.typist(ctx, c, time.Duration(300+rand.IntN(1200))*time.Second)
				mu.Lock()
				took = append(took, echoes...)
				if err != nil && ctx.Err() == nil {
					broken = append(broken, fmt.Errorf("%s: %w", id, err))
				}
				fresh++
				enough := len(broken) > 100
				mu.Unlock()
				if enough || ctx.Err() != nil {
					return
				}
				c.do(s.b.Context(), http.MethodDelete, "/api/tunnel/disconnect?force=true&device_id="+id, nil, nil)
				c.connect(s.b.Context())
				c.untilUp(s.b.Context())
			}
		})
		<-time.After(openFor / time.Duration(len(ids)))
	}
	work.Wait()
	if len(broken) > 0 {
		s.b.Errorf("%d of %d terminals broke", len(broken), fresh)
	}
	for _, err := range broken[:min(len(broken), 20)] {
		s.b.Error(err)
	}
	return took, fresh
}

// typist types into a new terminal of a client's device for a while, and returns how long each echo took.
func (s *soak) typist(ctx context.Context, c *client, long time.Duration) (took []time.Duration, err error) {
	ctx, stop := context.WithTimeout(ctx, long)
	defer stop()
	var ticket struct{ Ticket string }
	if code := c.do(s.b.Context(), http.MethodPost, "/devices/"+c.device+"/terminal/ticket", struct{}{}, &ticket); code != http.StatusOK {
		return nil, fmt.Errorf("ticket: %d", code)
	}
	conn, _, err := websocket.Dial(s.b.Context(), c.base+"/devices/"+c.device+"/terminal/ws", &websocket.DialOptions{
		HTTPClient: c.http, HTTPHeader: http.Header{"Origin": {c.base}, "Authorization": {"Bearer " + c.token}}, Subprotocols: []string{"terminal.borealis.v1"},
	})
	if err != nil {
		return nil, err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	outputs := make(chan time.Time, 64)
	failed := make(chan error, 1)
	go func() { failed <- drink(conn, outputs) }()
	open, err := json.Marshal(map[string]any{"ticket": ticket.Ticket, "tab": "soak", "terminal": "", "offset": -1, "cols": 100, "rows": 30})
	if err != nil {
		return nil, err
	}
	if err := conn.Write(s.b.Context(), websocket.MessageText, open); err != nil {
		return nil, err
	}
	select { // the prompt
	case <-outputs:
	case err := <-failed:
		return nil, err
	case <-time.After(30 * time.Second):
		return nil, fmt.Errorf("no prompt came")
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return took, nil
		case err := <-failed:
			return took, err
		case <-tick.C:
		}
		for len(outputs) > 0 {
			<-outputs
		}
		key := []byte("x")
		if i%40 == 39 {
			key = []byte{0x15} // Ctrl-U: the line is empty again
		}
		began := time.Now()
		if err := conn.Write(s.b.Context(), websocket.MessageBinary, key); err != nil {
			return took, err
		}
		select {
		case at := <-outputs:
			took = append(took, at.Sub(began))
		case err := <-failed:
			return took, err
		case <-time.After(20 * time.Second):
			return took, fmt.Errorf("a key was not echoed")
		}
	}
}

// drink reads a terminal to its end, and tells when output came.
func drink(conn *websocket.Conn, outputs chan<- time.Time) error {
	var offset int64
	for {
		kind, b, err := conn.Read(context.Background())
		if err != nil {
			return err
		}
		if kind == websocket.MessageText {
			var m struct {
				Type, Reason string
				Offset       int64
			}
			if err := json.Unmarshal(b, &m); err != nil {
				return err
			}
			switch m.Type {
			case "hello":
				offset = m.Offset
			case "ended", "error":
				return fmt.Errorf("terminal: %s", b)
			}
			continue
		}
		offset += int64(len(b))
		select {
		case outputs <- time.Now():
		default:
		}
		if err := conn.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, `{"type":"ack","offset":%d}`, offset)); err != nil {
			return err
		}
	}
}
