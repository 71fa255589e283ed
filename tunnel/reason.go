package tunnel

import (
	"errors"
	"fmt"
	"time"
)

// A Reason says why a tunnel ended. The set is closed.
type Reason string

// Every reason there is.
const (
	OperatorDisconnect Reason = "operator_disconnect"
	OperatorLeft       Reason = "operator_left"
	OperatorForceStop  Reason = "operator_force_stop"
	IdleTimeout        Reason = "idle_timeout"
	MaxDuration        Reason = "max_duration"
	AgentLost          Reason = "agent_lost"
	AgentShutdown      Reason = "agent_shutdown"
	AgentBusy          Reason = "agent_busy"
	TokenRejected      Reason = "token_rejected"
	LocalPolicy        Reason = "local_policy" // the device's owner does not allow it
	StartTimeout       Reason = "start_timeout"
	HandshakeTimeout   Reason = "handshake_timeout"
	DeviceRevoked      Reason = "device_revoked"
	DeviceLocked       Reason = "device_locked"
	OperatorLocked     Reason = "operator_locked"
	EngineShutdown     Reason = "engine_shutdown"
	EngineRestart      Reason = "engine_restart"
	FirewallLost       Reason = "firewall_lost"
	InternalError      Reason = "internal_error"
)

// Error makes a reason the cause that ends a session's context.
func (r Reason) Error() string { return string(r) }

// when is the reason if it is one, and none otherwise.
func (r Reason) when(is bool) Reason {
	if is {
		return r
	}
	return ""
}

// What callers tell apart.
var (
	ErrUnknownDevice = errors.New("no such device")
	ErrOffline       = errors.New("device is offline")
	ErrPending       = errors.New("device is waiting for approval")
	ErrRevoked       = errors.New("device may not connect")
	ErrLocked        = errors.New("device is locked")
	ErrActive        = errors.New("device has a tunnel already")
	ErrUnavailable   = errors.New("tunnels are unavailable")
	ErrNotConnected  = errors.New("no such tunnel")
	ErrPoolExhausted = errors.New("no virtual address is free")
	ErrNotUp         = errors.New("tunnel is not up")
	ErrTooMany       = errors.New("too many terminals")
)

// An OfflineError is an [ErrOffline] that knows when the device was last seen.
type OfflineError struct {
	LastSeen time.Time // zero when never
}

func (e *OfflineError) Error() string {
	if e.LastSeen.IsZero() {
		return "device is offline and was never seen"
	}
	return "device is offline, last seen " + e.LastSeen.UTC().Format(time.RFC3339)
}

// Is makes errors.Is(err, ErrOffline) true.
func (e *OfflineError) Is(target error) bool { return target == ErrOffline }

// An ActiveError is an [ErrActive] that knows the tunnel which is there.
type ActiveError struct {
	TunnelID string
}

func (e *ActiveError) Error() string { return fmt.Sprintf("tunnel %s is active", e.TunnelID) }

// Is makes errors.Is(err, ErrActive) true.
func (e *ActiveError) Is(target error) bool { return target == ErrActive }

// A LockedError is an [ErrLocked] that knows the lock.
type LockedError struct {
	Kind   string    // what is locked: [store.LockDevice] or [store.LockSite]
	Reason string    // why, in the words of who locked it
	Until  time.Time // zero: until it is lifted
}

func (e *LockedError) Error() string {
	text := "the " + e.Kind + " is locked"
	if !e.Until.IsZero() {
		text += " until " + e.Until.UTC().Format(time.RFC3339)
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }
