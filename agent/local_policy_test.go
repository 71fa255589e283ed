//go:build linux

package agent_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/tunnel/token"
)

// policyFile writes a device's local policy.
func (d *device) policyFile(t *testing.T, content string) {
	t.Helper()
	if err := os.WriteFile(agent.PolicyFile(d.data), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// otherDay is a policy whose hours are not now, and will not be soon.
func otherDay() string {
	day := strings.ToLower(time.Now().AddDate(0, 0, 3).Format("Mon"))
	return fmt.Sprintf(`{"hours": [{"days": [%q], "from": "00:00", "to": "24:00"}]}`, day)
}

// TestLocalPolicyRefusesTunnels: outside its hours, and whenever it is broken. The engine may
// ask again with the same token when it is mended.
func TestLocalPolicyRefusesTunnels(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	c := e.channel(t)
	o := c.offer(t, "tunnel-1")
	for policy, says := range map[string]string{
		otherDay():                "allows no tunnel at this hour",
		`{"never_port": []}`:      `unknown field "never_port"`,
		`{"no_terminal": true`:    "cannot be used",
		`{"shell_as": "\u001b["}`: `\x1b[`,
	} {
		d.policyFile(t, policy)
		c.send(t, wire.FromEngine{Start: &o.start})
		m := c.next(t)
		if m.Refused == nil || m.Refused.Tunnel != "tunnel-1" || m.Refused.Reason != wire.LocalPolicy || !strings.Contains(m.Refused.Detail, says) {
			t.Errorf("%s: the agent answers %+v %+v, want %s because %q", policy, m, m.Refused, wire.LocalPolicy, says)
		}
	}
	d.log.expect(t, "msg=tunnel_refused", "tunnel=tunnel-1", "reason=local_policy")
	d.policyFile(t, `{}`)
	c.up(t, o)
}

// TestLocalPolicyNarrowsThePorts, those of the token, those of the engine's policy, and those
// of a tunnel that is up when the file changes.
func TestLocalPolicyNarrowsThePorts(t *testing.T) {
	t.Parallel()
	never, other := echo(t), echo(t)
	both := append(shellOnly(), token.Port{Protocol: "tcp", From: never, To: never}, token.Port{Protocol: "tcp", From: other, To: other})
	e := newEngine(t)
	d := newDevice(t, e)
	d.policyFile(t, fmt.Sprintf(`{"never_ports": ["%d/tcp"], "no_terminal": true}`, never))
	c := e.channel(t)
	o := c.offer(t, "tunnel-1", func(claims *token.Claims) { claims.Ports = both })
	c.up(t, o)
	beside, err := c.dial(t, other)
	if err != nil {
		t.Fatal(err)
	}
	for revision := range int64(3) {
		if revision > 0 {
			c.send(t, c.policy(t, "tunnel-1", revision, both))
			c.applied(t, "tunnel-1", revision)
		}
		c.refused(t, "never allowed,", never)
		c.refused(t, "without a terminal,", wire.ShellPort)
	}

	d.policyFile(t, `{}`) // More is allowed at once, less cuts what is open.
	flow := c.dialled(t, never)
	if got := c.run(t, o, "echo again"); got != "again" {
		t.Errorf("the shell says %q", got)
	}
	d.policyFile(t, fmt.Sprintf(`{"never_ports": ["%d-%d/tcp"]}`, never, never))
	for begun := time.Now(); ping(flow) == nil; {
		if time.Since(begun) > patience {
			t.Fatal("what is never allowed goes on")
		}
	}
	c.refused(t, "never allowed again,", never)
	if err := ping(beside); err != nil {
		t.Errorf("the flow beside it: %v", err)
	}

	c.send(t, c.policy(t, "tunnel-1", 1, both)) // Late.
	d.log.expect(t, "msg=policy_rejected", "tunnel=tunnel-1", "revision 1 after 2")
	c.send(t, c.policy(t, "tunnel-1", 2, shellOnly())) // The same revision, and other ports.
	d.log.expect(t, "msg=policy_rejected", "tunnel=tunnel-1", "revision 2 after 2")
	c.send(t, c.policy(t, "tunnel-1", 3, shellOnly()))
	c.applied(t, "tunnel-1", 3)
	if err := ping(beside); err == nil {
		t.Error("what the engine closes goes on")
	}
}

// dialled connects the engine to a port of the agent, as soon as that is allowed.
func (c *channel) dialled(t *testing.T, port uint16) net.Conn {
	t.Helper()
	for begun := time.Now(); ; {
		conn, err := c.dial(t, port)
		if err == nil {
			return conn
		}
		if time.Since(begun) > patience {
			t.Fatal(err)
		}
	}
}

// TestLocalPolicyRunsShellsAsTheUser, which is for Windows: elsewhere there is no shell at all.
func TestLocalPolicyRunsShellsAsTheUser(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	d := newDevice(t, e)
	d.policyFile(t, `{"shell_as": "user"}`)
	c := e.channel(t)
	o := c.offer(t, "tunnel-1")
	c.up(t, o)
	client, err := c.dialShell(t, o.shell)
	if err != nil {
		t.Fatal(err)
	}
	session, err := client.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := session.CombinedOutput("id"); err == nil {
		t.Errorf("a shell runs as somebody: %s", out)
	}
}

// TestLocalPolicyEndsATunnel that is up, when the file does not allow it any more.
func TestLocalPolicyEndsATunnel(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{otherDay(), `{"shell_as": "user"}`, `nonsense`} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			d := newDevice(t, e)
			c := e.channel(t)
			c.up(t, c.offer(t, "tunnel-1"))
			d.policyFile(t, policy)
			want := wire.FromAgent{Stopped: &wire.Stopped{Tunnel: "tunnel-1", Reason: wire.PolicyEnded}}
			if diff := cmp.Diff(want, c.next(t)); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			d.log.expect(t, "msg=policy_ended", "tunnel=tunnel-1")
			d.log.expect(t, "msg=tunnel_down", "tunnel=tunnel-1", "reason=local_policy")
			if s := d.Status(); !s.Connected || s.Tunnel != "" {
				t.Errorf("status is %+v", s)
			}
		})
	}
}
