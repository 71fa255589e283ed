package agent_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"testing"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent"
	"borealis/agent/wire"
	"borealis/tunnel/keys"
	"borealis/tunnel/wg"
)

// TestTryPath with an engine that answers, one that hears and does not answer, and one that
// nothing reaches.
func TestTryPath(t *testing.T) {
	t.Parallel()
	if _, err := agent.TryPath(t.Context(), t.TempDir()); !errors.Is(err, keys.ErrNotEnrolled) {
		t.Errorf("before enrolment: %v", err)
	}
	deaf, err := net.ListenPacket("udp", "127.0.0.1:0") // It takes packets, and is no WireGuard.
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	for name, want := range map[string]agent.PathTried{
		"open": {Answered: true, Heard: true}, "no answer": {Heard: true}, "not heard": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEngine(t)
			want.Endpoint = deaf.LocalAddr().String()
			if want.Answered {
				want.Endpoint = net.JoinHostPort("127.0.0.1", strconv.Itoa(e.link.ListenPort()))
			}
			var asked []wire.TrialRequest
			e.trial = func(w http.ResponseWriter, q wire.TrialRequest) {
				asked = append(asked, q)
				key, err := wgtypes.ParseKey(q.Key)
				if err == nil && !q.Done && want.Answered {
					err = e.link.AddPeer(wg.Peer{PublicKey: key, AllowedIP: netip.MustParseAddr("10.255.0.9")})
				}
				if err != nil {
					t.Error(err)
				}
				answer := wire.Trial{Endpoint: want.Endpoint, ServerKey: e.link.PublicKey().String(), Seconds: 10, Heard: q.Done && want.Heard}
				if err := json.NewEncoder(w).Encode(answer); err != nil {
					t.Error(err)
				}
			}
			d := &device{data: t.TempDir()}
			if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: d.data, Code: codeFor(e).String()}); err != nil {
				t.Fatal(err)
			}
			got, err := agent.TryPath(t.Context(), d.data)
			if err != nil || got.Took <= 0 {
				t.Errorf("it took %v, %v", got.Took, err)
			}
			got.Took = 0
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if len(asked) != 2 || asked[0].Done || !asked[1].Done || asked[0].Key != asked[1].Key || asked[0].Dialled != e.address {
				t.Errorf("asked %+v", asked)
			}
		})
	}
	t.Run("an engine without trials", func(t *testing.T) {
		t.Parallel()
		e := newEngine(t)
		data := t.TempDir()
		if _, err := agent.Enrol(t.Context(), agent.EnrolConfig{Data: data, Code: codeFor(e).String()}); err != nil {
			t.Fatal(err)
		}
		_, err := agent.TryPath(t.Context(), data)
		if refused, ok := errors.AsType[*agent.RefusedError](err); !ok || refused.Status != http.StatusNotFound {
			t.Errorf("it says %v", err)
		}
	})
}
