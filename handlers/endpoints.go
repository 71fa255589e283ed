package handlers

// An Endpoint is one thing that browsers and programs reach.
type Endpoint struct {
	Method string
	Path   string // as the router knows it, with {id} and the like
}

// Endpoints lists every route of the console and its API, for those who put its defence
// to the test. It is safe for concurrent use.
func (s *Server) Endpoints() []Endpoint {
	var all []Endpoint
	for _, row := range s.table() {
		all = append(all, Endpoint{Method: row.method, Path: row.pattern})
	}
	return all
}
