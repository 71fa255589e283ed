package shell

import (
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/crypto/ssh"

	"borealis/agent/wire"
)

// session is one channel: first a description of what to run, then a running process. Its fields are
// used by the goroutine of serve alone, but for out and channel.
type session struct {
	channel ssh.Channel
	out     *output
	command command
	process process // nil until started
	log     *slog.Logger
	streams sync.WaitGroup // all goroutines of the running process
}

// newSession returns a session on an accepted channel.
func newSession(s *server, channel ssh.Channel, log *slog.Logger) *session {
	return &session{
		channel: channel,
		out:     newOutput(),
		log:     log,
		command: command{shell: s.shell, env: append([]string{"TERM=" + term}, s.env...), size: sizeOf(0, 0), asUser: s.asUser},
	}
}

// serve answers requests until the client has closed the channel or is gone. It then ends the
// process, and returns when nothing of it is left.
func (s *session) serve(requests <-chan *ssh.Request) {
	variables := 0
	for r := range requests {
		var ok bool
		switch r.Type {
		case wire.FlowRequest:
			ok = s.flow(r.Payload)
		case "window-change":
			ok = s.resize(r.Payload)
		case "signal":
			ok = s.signal(r.Payload)
		case "pty-req":
			ok = s.pty(r.Payload)
		case "env":
			variables++
			ok = variables <= maxVariables && s.variable(r.Payload)
		case "shell", "exec":
			ok = s.run(r)
		}
		if r.WantReply {
			_ = r.Reply(ok, nil) // a connection that cannot carry the reply is ending
		}
	}
	s.out.drop()
	if s.process != nil {
		s.process.Kill()
	}
	s.streams.Wait()
	s.channel.Close()
}

// flow sets how many bytes of output the engine is ready to take.
func (s *session) flow(payload []byte) bool {
	var m struct{ Limit uint64 }
	if ssh.Unmarshal(payload, &m) != nil {
		return false
	}
	s.out.setLimit(m.Limit)
	return true
}

// pty notes the terminal that is wanted. Its modes are the platform's: those of a new terminal suit a shell.
func (s *session) pty(payload []byte) bool {
	var m struct {
		Term                      string
		Cols, Rows, Width, Height uint32
		Modes                     string
	}
	if s.process != nil || ssh.Unmarshal(payload, &m) != nil {
		return false
	}
	s.command.size = sizeOf(m.Cols, m.Rows)
	if isWord(m.Term) {
		s.command.env = append(s.command.env, "TERM="+m.Term)
	}
	return true
}

// variable adds to the environment what a client may add, or notes which shell it wants.
func (s *session) variable(payload []byte) bool {
	var m struct{ Name, Value string }
	if s.process != nil || ssh.Unmarshal(payload, &m) != nil || !mayset(m.Name, m.Value) {
		return false
	}
	if m.Name == wire.ShellVariable {
		s.command.choice = m.Value // start says what is wrong with it: the engine does not wait for a reply to this
		return true
	}
	s.command.env = append(s.command.env, m.Name+"="+m.Value)
	return true
}

// resize gives the terminal a new size; programs on it are told by the platform.
func (s *session) resize(payload []byte) bool {
	var m struct{ Cols, Rows, Width, Height uint32 }
	if ssh.Unmarshal(payload, &m) != nil {
		return false
	}
	s.command.size = sizeOf(m.Cols, m.Rows)
	return s.process == nil || s.process.Resize(s.command.size) == nil
}

// signal sends a signal to the program in the foreground.
func (s *session) signal(payload []byte) bool {
	var m struct{ Name string }
	if s.process == nil || ssh.Unmarshal(payload, &m) != nil {
		return false
	}
	return s.process.Signal(m.Name) == nil
}

// run starts the shell, or a command line in it; once in a session.
func (s *session) run(r *ssh.Request) bool {
	if s.process != nil {
		return false
	}
	if r.Type == "exec" {
		var m struct{ Line string }
		if ssh.Unmarshal(r.Payload, &m) != nil || m.Line == "" {
			return false
		}
		s.command.line = m.Line
	}
	p, err := start(s.command)
	if err != nil {
		s.log.Error("shell not started", "err", err)
		s.excuse(err)
		return false
	}
	s.log.Info("shell started")
	s.process = p
	if r.WantReply { // before a short program can end and close the channel
		_ = r.Reply(true, nil) // a connection that cannot carry the reply is ending
		r.WantReply = false
	}
	s.streams.Go(func() { s.attend(p) })
	return true
}

// excuse tells the engine, and the person at the terminal, why there is no shell, and ends the session.
func (s *session) excuse(why error) {
	_, err := fmt.Fprintf(s.channel, "borealis: the shell could not be started: %v\r\n", why)
	if err == nil {
		_, err = s.channel.SendRequest(wire.RefusalRequest, false, ssh.Marshal(struct{ Why string }{why.Error()}))
	}
	if err == nil {
		s.finish(exit{status: 127})
	}
}
