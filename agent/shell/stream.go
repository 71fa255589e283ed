package shell

import (
	"io"
	"sync"

	"golang.org/x/crypto/ssh"
)

// attend carries a process's input and output until it has ended and all its output is sent, then
// tells the client how it ended.
func (s *session) attend(p process) {
	s.streams.Go(func() {
		_, _ = io.Copy(p, s.channel) // ends with the channel, or with the terminal
	})
	var output sync.WaitGroup
	output.Go(func() { s.collect(p) })
	output.Go(s.send)
	how := p.Wait()
	output.Wait()
	if err := p.Close(); err != nil {
		s.log.Warn("close terminal", "err", err)
	}
	s.log.Info("shell ended", "reason", how.String())
	s.finish(how)
}

// collect reads what the process writes, as far as the engine gave credit: beyond it nothing is
// read, so that the program blocks rather than fills buffers between here and the browser.
func (s *session) collect(p process) {
	defer s.out.end()
	buf := make([]byte, packet)
	for {
		n, err := p.Read(buf[:s.out.room()])
		if n > 0 {
			s.out.add(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// send writes the output to the channel until its end.
func (s *session) send() {
	chunk := make([]byte, 0, packet)
	for {
		if chunk = s.out.next(chunk); len(chunk) == 0 {
			return
		}
		if _, err := s.channel.Write(chunk); err != nil {
			s.out.drop()
			return
		}
	}
}

// finish sends how the program ended and closes the channel.
func (s *session) finish(how exit) {
	var err error
	if how.signal != "" {
		_, err = s.channel.SendRequest("exit-signal", false, ssh.Marshal(struct {
			Signal  string
			Core    bool
			Message string
			Lang    string
		}{Signal: how.signal, Core: how.core}))
	} else {
		_, err = s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{how.status}))
	}
	if err == nil {
		_ = s.channel.CloseWrite() // Close says it again
	}
	s.channel.Close()
}
