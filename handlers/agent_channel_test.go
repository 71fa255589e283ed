package handlers

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/keys"

	"github.com/coder/websocket"
)

// dialAgent opens an agent's WebSocket and says nothing.
func (r *rig) dialAgent(id *keys.Identity, subprotocols ...string) (*websocket.Conn, error) {
	r.t.Helper()
	return r.dialAgentAs(wire.ServerName, id, subprotocols...)
}

// dialAgentAs is dialAgent by another TLS name.
func (r *rig) dialAgentAs(name string, id *keys.Identity, subprotocols ...string) (*websocket.Conn, error) {
	r.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: name, Certificates: []tls.Certificate{id.TLS()}}}
	r.t.Cleanup(transport.CloseIdleConnections)
	conn, _, err := websocket.Dial(r.context(), "wss://"+r.address+wire.PathChannel, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, Subprotocols: subprotocols,
	})
	if err == nil {
		r.t.Cleanup(func() { conn.CloseNow() })
	}
	return conn, err
}

var goodHello = wire.Hello{Nonce: "nonce-of-this-connection", Version: "1", Hostname: "pc", OS: "linux", Arch: "amd64", Link: "netstack", Dialled: "127.0.0.1:1"}

// joinAgent connects a device that says hello and then listens, until the test ends.
func (r *rig) joinAgent(id *keys.Identity) *websocket.Conn {
	r.t.Helper()
	conn, err := r.dialAgent(id, wire.Subprotocol)
	if err != nil {
		r.t.Fatal(err)
	}
	r.say(conn, wire.FromAgent{Hello: &goodHello})
	if msg := r.hear(conn); msg.Welcome == nil || msg.Welcome.DeviceID == "" || len(msg.Welcome.TokenKeys) == 0 {
		r.t.Fatalf("the first message is %+v", msg)
	}
	return conn
}

func (r *rig) say(conn *websocket.Conn, msg wire.FromAgent) {
	r.t.Helper()
	body, err := msg.Encode()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := conn.Write(r.context(), websocket.MessageText, body); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) hear(conn *websocket.Conn) wire.FromEngine {
	r.t.Helper()
	_, body, err := conn.Read(r.context())
	if err != nil {
		r.t.Fatal(err)
	}
	msg, err := wire.DecodeFromEngine(body)
	if err != nil {
		r.t.Fatal(err)
	}
	return msg
}

// closed waits until the engine has closed a socket, and returns the close code; -1 when
// it just cut it.
func (r *rig) closed(conn *websocket.Conn) websocket.StatusCode {
	r.t.Helper()
	ctx := r.context()
	for {
		_, _, err := conn.Read(ctx)
		if ctx.Err() != nil {
			r.t.Error("the socket stays open")
		}
		if err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// until waits for the manager to see a device online or offline.
func (r *rig) until(device string, online bool) {
	r.t.Helper()
	changes, stop := r.manager.Watch()
	defer stop()
	for {
		if _, is := r.manager.Online(device); is == online {
			return
		}
		select {
		case <-changes:
		case <-r.context().Done():
			r.t.Fatalf("device is not online=%v", online)
		}
	}
}

func TestChannel(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *tunnel.Config) { c.PingAnswer, c.PingAgain = 100*time.Millisecond, time.Millisecond })
	d, id := r.device("pc", store.Active)
	conn := r.joinAgent(id)
	presence, online := r.manager.Online(d.ID)
	if !online || presence.Addr != "127.0.0.1" || presence.Link != "netstack" {
		t.Errorf("%v %+v", online, presence)
	}

	// What it is offered arrives.
	p := r.program("ann", access.Admin)
	var made connectAnswer
	p.do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+d.ID+`"}`).into(t, &made)
	if msg := r.hear(conn); msg.Start == nil || msg.Start.Tunnel != made.TunnelID || msg.Start.Token != made.Token {
		t.Errorf("offered %+v, answered %+v", msg.Start, made)
	}

	// What it says arrives.
	r.say(conn, wire.FromAgent{Refused: &wire.Refused{Tunnel: made.TunnelID, Reason: wire.Busy, Detail: "no"}})
	if msg := r.hear(conn); msg.Stop == nil || msg.Stop.Reason != "agent_busy" {
		t.Errorf("%+v", msg)
	}

	// Another connection of the same device takes its place: nobody reads there, so
	// it is not a clone yet.
	second := r.joinAgent(id)
	if code := r.closed(conn); code != websocket.StatusNormalClosure {
		t.Errorf("the first connection ends with %d", code)
	}
	if _, online := r.manager.Online(d.ID); !online {
		t.Error("the second connection is not online")
	}
	second.CloseNow()
	r.until(d.ID, false)
}

// offered is a device whose tunnel a program has asked for; its agent never answers.
func (r *rig) offered(p *client) (d store.Device, made connectAnswer, body string, offer wire.Start) {
	r.t.Helper()
	d, id := r.device("pc", store.Active)
	conn := r.joinAgent(id)
	a := p.do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+d.ID+`"}`)
	a.into(r.t, &made)
	msg := r.hear(conn)
	if msg.Start == nil {
		r.t.Fatalf("no offer: %+v", msg)
	}
	return d, made, a.body, *msg.Start
}

// TestConnectAnswer holds the answer to connecting, to joining, and to asking for a
// tunnel of one's own.
func TestConnectAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.program("ann", access.Admin)
	d, a, _, _ := r.offered(p)
	if a.VirtualIP != "10.255.0.2" || a.EngineIP != "10.255.0.1" || a.AllowedIPs[0] != "10.255.0.1/32" || len(a.AllowedIPs) != 1 {
		t.Errorf("addresses: %+v", a)
	}
	if !strings.HasPrefix(a.Endpoint, "127.0.0.1:") || a.ServerPublicKey != r.keys.WireGuard.PublicKey().String() {
		t.Errorf("endpoint: %+v", a)
	}
	if a.IdleSeconds != 900 || a.State != "offered" || a.Joined || a.Token == "" || len(a.AllowedPorts) == 0 {
		t.Errorf("%+v", a)
	}
	var joined connectAnswer
	r.program("bob", access.Operator).do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+d.ID+`"}`).into(t, &joined)
	if !joined.Joined || joined.TunnelID != a.TunnelID {
		t.Errorf("%+v", joined)
	}
	explicit := p.do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+d.ID+`","new":true}`).problem(t)
	if explicit.Code != codeActive || explicit.TunnelID != a.TunnelID {
		t.Errorf("%+v", explicit)
	}
}

// TestStatusAnswers holds the answers about a tunnel until it has ended.
func TestStatusAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p, other := r.program("ann", access.Admin), r.program("bob", access.Operator)
	d, made, _, _ := r.offered(p)
	other.do(http.MethodPost, "/api/tunnel/connect", `{"device_id":"`+d.ID+`"}`)
	var st, alias statusAnswer
	p.do(http.MethodGet, "/api/tunnel/status?device_id="+d.ID, "").into(t, &st)
	p.do(http.MethodGet, "/api/tunnel/connect/status?device_id="+d.ID, "").into(t, &alias)
	if st.TunnelID != made.TunnelID || st.Up || st.State != "offered" || st.OperatorCount != 2 || st.Operators[0].Name != "ann" || st.Operators[1].Kind != "api" {
		t.Errorf("%+v", st)
	}
	if st.RequestedAt == nil || st.UpAt != nil || st.EndedAt != nil || len(st.Timeline) < 2 || st.Timeline[0].Step != "requested" || alias.TunnelID != st.TunnelID {
		t.Errorf("%+v", st)
	}
	var all tunnelsAnswer
	p.do(http.MethodGet, "/api/tunnels", "").into(t, &all)
	if all.Total != 1 || all.Tunnels[0].TunnelID != made.TunnelID || all.Link.Mode != "netstack" {
		t.Errorf("%+v", all)
	}
	var left disconnectAnswer
	p.do(http.MethodDelete, "/api/tunnel/disconnect", `{"tunnel_id":"`+made.TunnelID+`"}`).into(t, &left)
	if left.State != "offered" || left.Reason != "" {
		t.Errorf("the first leaves: %+v", left)
	}
	p.do(http.MethodDelete, "/api/tunnel/disconnect?force=true&device_id="+d.ID, "").into(t, &left)
	if left.State != "ended" || left.Reason != "operator_force_stop" {
		t.Errorf("by force: %+v", left)
	}
	p.do(http.MethodGet, "/api/tunnel/status?device_id="+d.ID, "").into(t, &st)
	if st.State != "ended" || st.Reason != "operator_force_stop" || st.EndedAt == nil {
		t.Errorf("%+v", st)
	}
}

// TestAnswersHoldNoKeys: what an agent is sent in secret is in no answer and no log.
func TestAnswersHoldNoKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p, b := r.program("ann", access.Admin), r.browser("bob", access.Admin)
	d, made, connected, offer := r.offered(p)
	texts := []string{connected, r.logs.String()}
	for _, path := range []string{"/api/tunnel/status?device_id=" + d.ID, "/api/tunnels", "/api/devices/" + d.ID, "/api/activity"} {
		texts = append(texts, p.do(http.MethodGet, path, "").body)
	}
	for _, path := range []string{"/devices", "/devices/" + d.ID + "/summary", "/devices/" + d.ID + "/config", "/tunnels", "/activity"} {
		texts = append(texts, b.do(http.MethodGet, path, "").body)
	}
	for _, text := range texts {
		for _, secret := range []string{offer.PresharedKey, r.keys.WireGuard.String(), b.cookie, p.token} {
			if secret == "" || strings.Contains(text, secret) {
				t.Errorf("a secret is in %.100s", text)
			}
		}
	}
	for _, text := range texts[1:] {
		if strings.Contains(text, made.Token) {
			t.Errorf("the token is in %.100s", text)
		}
	}
}

func TestChannelRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, id := r.device("pc", store.Active)
	hello, err := wire.FromAgent{Hello: &goodHello}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	stopped, err := wire.FromAgent{Stopped: &wire.Stopped{Tunnel: "01990000-0000-7000-8000-000000000000", Reason: wire.AgentShutdown}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		kind     websocket.MessageType
		messages []string
		want     websocket.StatusCode
	}{
		{"something else first", websocket.MessageText, []string{string(stopped)}, websocket.StatusPolicyViolation},
		{"rubbish", websocket.MessageText, []string{"x"}, websocket.StatusPolicyViolation},
		{"binary", websocket.MessageBinary, []string{string(hello)}, websocket.StatusPolicyViolation},
		{"too large", websocket.MessageText, []string{strings.Repeat(" ", wire.MaxMessage+1)}, websocket.StatusMessageTooBig},
		{"hello twice", websocket.MessageText, []string{string(hello), string(hello)}, websocket.StatusPolicyViolation},
		{"a flood", websocket.MessageText, append([]string{string(hello)}, repeat(string(stopped), 4*agentBurst)...), websocket.StatusPolicyViolation},
	} {
		conn, err := r.dialAgent(id, wire.Subprotocol)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range c.messages {
			if conn.Write(r.context(), c.kind, []byte(m)) != nil {
				break // cut already
			}
		}
		if code := r.closed(conn); code != c.want && code != -1 {
			t.Errorf("%s: closed with %d, want %d", c.name, code, c.want)
		}
	}
	conn, err := r.dialAgent(id)
	if err != nil {
		t.Fatal(err)
	}
	if code := r.closed(conn); code != websocket.StatusPolicyViolation {
		t.Errorf("without the subprotocol: %d", code)
	}
	if r.store.Check(t.Context()) != nil || len(r.manager.OnlineIDs()) > 1 {
		t.Error("something is left")
	}
}

func repeat(s string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = s
	}
	return all
}

// TestRevokeCutsTheChannel within a moment, and the device does not come back.
func TestRevokeCutsTheChannel(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Active)
	conn := r.joinAgent(id)
	begun := time.Now()
	done := make(chan websocket.StatusCode)
	go func() { done <- r.closed(conn) }()
	if a := r.browser("ann", access.Admin).post("/devices/"+d.ID+"/revoke", "", "HX-Request", "true", "HX-Target", "device-head"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "Revoked") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	<-done
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
	r.until(d.ID, false)
	if _, err := r.dialAgent(id, wire.Subprotocol); err == nil {
		t.Error("it came back")
	}
}

// TestCloseEndsChannels: nothing that is open keeps a server from closing.
func TestCloseEndsChannels(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, id := r.device("pc", store.Active)
	conn := r.joinAgent(id)
	r.Close()
	r.closed(conn)
	if _, online := r.manager.Online(d.ID); online {
		t.Error("the agent is online after Close")
	}
	if _, err := r.dialAgent(id, wire.Subprotocol); err == nil {
		t.Error("a channel opens after Close")
	}
}

// TestBeat: a peer that does not answer pings is dead after two of them; one that does
// lives.
func TestBeat(t *testing.T) {
	t.Parallel()
	for _, answers := range []bool{true, false} {
		result := make(chan error, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				result <- err
				return
			}
			defer conn.CloseNow()
			ctx, cancel := context.WithTimeout(conn.CloseRead(r.Context()), time.Second)
			defer cancel()
			result <- beat(ctx, conn, 100*time.Millisecond)
		}))
		conn, _, err := websocket.Dial(t.Context(), server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if answers {
			conn.CloseRead(t.Context())
		}
		if err := <-result; (err == nil) != answers {
			t.Errorf("answers %v: %v", answers, err)
		}
		conn.CloseNow()
		server.Close()
	}
}
