package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"borealis/agent/wire"
	"borealis/tunnel/token"
	"borealis/tunnel/wg"
)

// trialWait is how long a handshake is waited for: WireGuard tries a second time after 5 s.
const trialWait = 6 * time.Second

// PathTried is what a trial of the way that tunnels take has shown.
type PathTried struct {
	Endpoint string        // host:port of the engine's WireGuard, UDP.
	Answered bool          // A handshake came about: the way is open, out and back.
	Heard    bool          // The engine heard this device: the way out is open.
	Took     time.Duration // Until the handshake, or until it was given up.
}

// TryPath finds out whether the way that a tunnel takes, over UDP, is open for the device with a
// data root: with a key that lives as long as the trial, on an interface inside this process, and
// without a tunnel. An active device may ask, at any time; it takes seconds at most. The error is
// [keys.ErrNotEnrolled] when the device belongs to no engine, a [PinError] when somebody else
// answers, and a [RefusedError] when the engine does not take part.
func TryPath(ctx context.Context, data string) (PathTried, error) {
	a, err := visitor(data)
	if err != nil {
		return PathTried{}, fmt.Errorf("try the way: %w", err)
	}
	tried, err := tryPath(ctx, a)
	if err != nil {
		return tried, fmt.Errorf("try the way: %w", err)
	}
	return tried, nil
}

// tryPath is TryPath for an agent that does not run.
func tryPath(ctx context.Context, a *Agent) (PathTried, error) {
	private, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return PathTried{}, fmt.Errorf("make a WireGuard key: %w", err)
	}
	question := wire.TrialRequest{Key: private.PublicKey().String()}
	trial, s, err := a.askTrial(ctx, question)
	if err != nil {
		return PathTried{}, err
	}
	tried := PathTried{Endpoint: trial.Endpoint}
	began := time.Now()
	if tried.Answered, err = s.shake(ctx, private, trial.ServerKey); err != nil {
		return tried, err
	}
	tried.Took = time.Since(began)
	question.Done = true
	over, _, err := a.askTrial(ctx, question)
	if err != nil && !tried.Answered {
		return tried, err
	}
	tried.Heard = tried.Answered || over.Heard
	return tried, nil
}

// shake tries one handshake, on an interface that the host does not see.
func (s *session) shake(ctx context.Context, private wgtypes.Key, serverKey string) (answered bool, err error) {
	server, err := wgtypes.ParseKey(serverKey)
	if err != nil {
		return false, fmt.Errorf("the engine's WireGuard key: %w", err)
	}
	endpoint, err := s.endpoint(ctx, s.dialled)
	if err != nil {
		return false, err
	}
	here, there := netip.AddrFrom4([4]byte{192, 0, 2, 1}), netip.AddrFrom4([4]byte{192, 0, 2, 2}) // For examples only: nothing is sent to them.
	link, err := wg.Open(ctx, wg.Config{
		Mode: wg.Netstack, Name: linkName, PrivateKey: private, Address: here, Route: netip.PrefixFrom(there, 32),
	})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, link.Close()) }()
	if err := link.AddPeer(wg.Peer{PublicKey: server, AllowedIP: there, Endpoint: endpoint, Keepalive: keepalive}); err != nil {
		return false, err
	}
	waiting, cancel := context.WithTimeout(ctx, trialWait)
	defer cancel()
	return link.Handshake(waiting, server) == nil, ctx.Err()
}

// askTrial asks the engine to take part in a trial, or what it saw of one. The session knows
// where the engine was reached, and no more.
func (a *Agent) askTrial(ctx context.Context, q wire.TrialRequest) (trial wire.Trial, s *session, err error) {
	found, err := a.reach(ctx)
	if err != nil {
		return wire.Trial{}, nil, err
	}
	defer func() { _ = found.conn.Close() }()
	q.Dialled = found.address
	body, err := json.Marshal(q)
	if err != nil {
		return wire.Trial{}, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+wire.ServerName+wire.PathTrial, bytes.NewReader(body))
	if err != nil {
		return wire.Trial{}, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := oneConnection(found.conn).Do(r)
	if err != nil {
		return wire.Trial{}, nil, fmt.Errorf("ask the engine: %w", understood(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return wire.Trial{}, nil, refusal(response)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, wire.MaxMessage)).Decode(&trial); err != nil {
		return wire.Trial{}, nil, fmt.Errorf("the engine's answer makes no sense: is it of another version? %w", err)
	}
	s = &session{dialled: found.address, claims: token.Claims{Endpoint: trial.Endpoint}}
	if remote, err := netip.ParseAddrPort(found.conn.RemoteAddr().String()); err == nil {
		s.engine = remote.Addr().Unmap()
	}
	return trial, s, nil
}
