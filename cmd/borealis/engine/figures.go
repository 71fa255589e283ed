package engine

import (
	"borealis/handlers"
	"borealis/handlers/metrics"
)

// figures are the engine's metrics.
type figures struct{ *metrics.Metrics }

// newFigures makes them before there is anything to count.
func newFigures(c *Config) figures {
	return figures{metrics.New(metrics.Config{Version: Version(), Logger: c.Logger})}
}

// attach connects them with the engine.
func (f figures) attach(e *Engine) {
	f.Attach(metrics.Sources{Manager: e.Manager, Store: e.Store, Sent: e.sent, Front: func() metrics.Front { return front(e.Handlers.Figures()) }})
}

// front is what the handlers count, as the metrics name it.
func front(f handlers.Figures) metrics.Front {
	return metrics.Front{
		Connections: f.Connections, ConnectionsRefused: f.ConnectionsRefused, AgentsRefused: f.AgentsRefused,
		SignInFailures: f.SignInFailures, Faults: f.Faults,
		Requests: map[string]int64{"operator": f.OperatorRequests, "agent": f.AgentRequests, "enrol": f.EnrolmentRequests},
	}
}
