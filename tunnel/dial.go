package tunnel

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"borealis/acl"
	"borealis/agent/wire"
)

// A flow is a connection that the engine itself has into a tunnel. It ends when its
// port is closed.
type flow struct {
	net.Conn

	session  *session
	protocol string
	port     uint16

	mu    sync.Mutex
	cause error // why it was cut; nil while it was not
}

// A cutError is what is read from a flow whose port was closed. It is [acl.ErrRefused].
type cutError struct {
	protocol string
	port     uint16
}

func (e *cutError) Error() string {
	if e.protocol == acl.TCP && e.port == wire.ShellPort {
		return "the list of allowed ports does not allow the shell any more"
	}
	return fmt.Sprintf("the list of allowed ports does not allow %d/%s any more", e.port, e.protocol)
}

// Is makes errors.Is(err, acl.ErrRefused) true.
func (e *cutError) Is(target error) bool { return target == acl.ErrRefused }

// dialTCP is the one way of the engine into a tunnel: it connects to a port that the
// guard allows, and the connection ends when the guard does not any more.
func (s *session) dialTCP(ctx context.Context, port uint16) (net.Conn, error) {
	to := netip.AddrPortFrom(s.vip, port)
	guard := &s.manager.guard
	if err := guard.Check(acl.TCP, to); err != nil {
		return nil, err
	}
	c, err := s.link.DialTCP(ctx, to)
	if err != nil {
		return nil, err
	}
	f := &flow{Conn: c, session: s, protocol: acl.TCP, port: port}
	s.mu.Lock()
	s.flows[f] = struct{}{}
	s.mu.Unlock()
	if err := guard.Check(acl.TCP, to); err != nil { // closed while this was dialling
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// cutClosed cuts the engine's flows to ports that are not among open.
func (s *session) cutClosed(open []acl.Port) {
	for _, f := range s.flowsBut(open) {
		f.cut(&cutError{f.protocol, f.port})
	}
}

// flowsBut returns the engine's flows to ports that are not among open.
func (s *session) flowsBut(open []acl.Port) (closed []*flow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.flows {
		if !acl.Contains(open, f.protocol, f.port) {
			closed = append(closed, f)
		}
	}
	return closed
}

// endFlows ends all that the engine has in a tunnel whose peer is gone, its terminals first. Nobody
// would answer a goodbye: without a reset each connection would wait for that for minutes.
func (s *session) endFlows(why Reason) {
	for _, f := range s.flowsBut(nil) {
		reset(f.Conn)
	}
	s.closeTerminals(why)
	for _, f := range s.flowsBut(nil) {
		f.cut(why)
	}
}

// cut closes the flow and says why to whoever uses it.
func (f *flow) cut(cause error) {
	f.mu.Lock()
	if f.cause == nil {
		f.cause = cause
	}
	f.mu.Unlock()
	reset(f.Conn)
	_ = f.Close() // by whoever uses it too
}

// reset makes closing a TCP connection end it at once.
func reset(c net.Conn) {
	if tcp, ok := c.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0) // else it ends in its own time
	}
}

// Close implements net.Conn.
func (f *flow) Close() error {
	f.session.mu.Lock()
	delete(f.session.flows, f)
	f.session.mu.Unlock()
	return f.Conn.Close()
}

// Read implements net.Conn.
func (f *flow) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	return n, f.because(err)
}

// Write implements net.Conn.
func (f *flow) Write(b []byte) (int, error) {
	n, err := f.Conn.Write(b)
	return n, f.because(err)
}

func (f *flow) because(err error) error {
	if err == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause != nil {
		return f.cause
	}
	return err
}
