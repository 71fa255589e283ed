package handlers

import "sync/atomic"

// Figures are what a server counts, for those who watch the engine. All but Connections began at
// zero when it was made.
type Figures struct {
	Connections        int64 // that are open
	ConnectionsRefused int64 // because too many had proven nothing
	AgentsRefused      int64 // connections of agents, because few file descriptors were left
	SignInFailures     int64
	OperatorRequests   int64
	AgentRequests      int64
	EnrolmentRequests  int64
	Faults             int64 // requests that failed because of the engine
}

// counters are the figures as they are counted.
type counters struct {
	operators, agents, enrolments, faults, signInFailures atomic.Int64
}

// Figures returns the figures of this moment.
func (s *Server) Figures() Figures {
	return Figures{
		Connections:        s.door.open.Load(),
		ConnectionsRefused: s.door.turnedAway.Load(),
		AgentsRefused:      s.door.agentsRefused.Load(),
		SignInFailures:     s.counts.signInFailures.Load(),
		OperatorRequests:   s.counts.operators.Load(),
		AgentRequests:      s.counts.agents.Load(),
		EnrolmentRequests:  s.counts.enrolments.Load(),
		Faults:             s.counts.faults.Load(),
	}
}
