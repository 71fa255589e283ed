//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// portsState is what the API says of a device's ports, as far as these tests look at it.
type portsState struct {
	Revision int64    `json:"revision"`
	Allowed  []string `json:"allowed_ports"`
	Proof    *struct {
		Revision  int64    `json:"revision"`
		By        string   `json:"by"`
		Confirmed bool     `json:"confirmed"`
		Allowed   int      `json:"allowed"`
		Answering int      `json:"answering"`
		Refused   int      `json:"refused"`
		OK        bool     `json:"ok"`
		Alarms    []string `json:"alarms"`
	} `json:"proof"`
	Code string `json:"code"`
}

// wanted is what a device's ports are to be; a service that is missing has its default.
type wanted struct {
	Services map[string]choice `json:"services"`
	Custom   []customPort      `json:"custom"`
}

type choice struct {
	Allowed bool   `json:"allowed"`
	For     int    `json:"for_seconds,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

type customPort struct {
	Protocol string `json:"protocol"`
	From     int    `json:"from"`
	To       int    `json:"to"`
	Label    string `json:"label,omitempty"`
	For      int    `json:"for_seconds,omitempty"`
}

func tcpPort(n int) customPort { return customPort{Protocol: "tcp", From: n, To: n} }
func udpPort(n int) customPort { return customPort{Protocol: "udp", From: n, To: n} }

// ports reads the ports of the client's device.
func (c *client) ports(ctx context.Context) portsState {
	c.t.Helper()
	var p portsState
	if code := c.do(ctx, http.MethodGet, "/api/devices/"+c.device+"/ports", nil, &p); code != http.StatusOK {
		c.t.Fatalf("ports: %d %+v", code, p)
	}
	return p
}

// setPorts makes w the ports of the client's device; they are in force when it returns.
func (c *client) setPorts(ctx context.Context, w wanted) portsState {
	c.t.Helper()
	p, code := c.tryPorts(ctx, c.ports(ctx).Revision, w)
	if code != http.StatusOK {
		c.t.Fatalf("set ports: %d %+v", code, p)
	}
	return p
}

// tryPorts is setPorts for a revision that may be stale.
func (c *client) tryPorts(ctx context.Context, revision int64, w wanted) (portsState, int) {
	c.t.Helper()
	if w.Services == nil {
		w.Services = map[string]choice{}
	}
	if w.Custom == nil {
		w.Custom = []customPort{}
	}
	body, err := json.Marshal(w)
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.base+"/api/devices/"+c.device+"/ports", bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("If-Match", fmt.Sprintf("%q", fmt.Sprint(revision)))
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var p portsState
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		c.t.Fatal(err)
	}
	return p, resp.StatusCode
}

// proven asks for a proof of what the ports are shown as.
func (c *client) proven(ctx context.Context) portsState {
	c.t.Helper()
	var answer json.RawMessage
	if code := c.do(ctx, http.MethodPost, "/api/devices/"+c.device+"/ports/check", nil, &answer); code != http.StatusOK {
		c.t.Fatalf("check: %d %s", code, answer)
	}
	p := c.ports(ctx)
	if p.Proof == nil {
		c.t.Fatalf("no proof after a check that said %s", answer)
	}
	return p
}
