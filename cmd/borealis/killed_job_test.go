//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// job makes a tunnel, types into its shell, changes a port twice and goes, as often as it takes
// until ctx ends. It reports whether it was done.
func (k *killing) job(ctx context.Context) bool {
	device := k.agent.device
	var made struct {
		Tunnel string `json:"tunnel_id"`
		Joined bool
	}
	if !k.until(ctx, func() bool {
		return k.call(ctx, http.MethodPost, "/api/tunnel/connect", fmt.Sprintf(`{"device_id":%q}`, device), &made)
	}) {
		return false
	}
	if !slices.Contains(k.tunnels, made.Tunnel) {
		k.tunnels = append(k.tunnels, made.Tunnel)
	}
	if !k.until(ctx, func() bool {
		var st tunnelState
		return k.call(ctx, http.MethodGet, "/api/tunnel/status?device_id="+device, "", &st) && st.Up
	}) || !k.until(ctx, func() bool { return k.types(ctx, device) }) {
		return false
	}
	for range 2 {
		k.port++
		body := fmt.Sprintf(`{"services":{},"custom":[{"protocol":"tcp","from":%d,"to":%[1]d}]}`, 10000+k.port)
		if !k.until(ctx, func() bool { return k.client.succeeds(ctx, http.MethodPut, "/api/devices/"+device+"/ports", body) }) {
			return false
		}
		k.opened = append(k.opened, 10000+k.port)
	}
	return k.call(ctx, http.MethodDelete, "/api/tunnel/disconnect?device_id="+device, "", nil)
}

// until repeats f until it succeeds or ctx ends.
func (k *killing) until(ctx context.Context, f func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// call makes a request of an engine that may die any time, and decodes the answer.
func (k *killing) call(ctx context.Context, method, path, body string, out any) bool {
	req, err := http.NewRequestWithContext(ctx, method, k.client.base+path, strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+k.client.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	answer, err := k.client.http.Do(req)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return false
	}
	return out == nil || json.NewDecoder(answer.Body).Decode(out) == nil
}

// types opens a terminal, starts something in it that does not end by itself, and leaves it open.
func (k *killing) types(ctx context.Context, device string) bool {
	var ticket struct{ Ticket string }
	if !k.call(ctx, http.MethodPost, "/devices/"+device+"/terminal/ticket", "{}", &ticket) {
		return false
	}
	conn, _, err := websocket.Dial(ctx, k.client.base+"/devices/"+device+"/terminal/ws", &websocket.DialOptions{
		HTTPClient: k.client.http, HTTPHeader: http.Header{"Origin": {k.client.base}, "Authorization": {"Bearer " + k.client.token}},
		Subprotocols: []string{"terminal.borealis.v1"},
	})
	if err != nil {
		return false
	}
	defer conn.CloseNow()
	open, err := json.Marshal(map[string]any{"ticket": ticket.Ticket, "tab": "tab-of-the-test", "terminal": "", "offset": -1, "cols": 100, "rows": 30})
	if err != nil || conn.Write(ctx, websocket.MessageText, open) != nil {
		return false
	}
	for typed := false; ; {
		kind, b, err := conn.Read(ctx)
		if err != nil {
			return false
		}
		switch {
		case !typed && bytes.Contains(b, []byte(`"hello"`)):
			typed = true
			if conn.Write(ctx, websocket.MessageBinary, []byte("echo na\"pp\"ing; "+nap+"\r")) != nil {
				return false
			}
		case kind == websocket.MessageBinary && bytes.Contains(b, []byte("napping")):
			return true
		}
	}
}
