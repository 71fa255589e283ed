package handlers

import (
	"net/http"
	"strings"

	"borealis/agent/wire"
	"borealis/static"

	"github.com/go-chi/chi/v5"
)

// routes are the operators' routes. All but the few in publicRoutes need a session.
func (s *Server) routes() *chi.Mux {
	m := chi.NewRouter()
	m.Use(s.withBody)
	m.NotFound(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, refuse(codeNotFound, "There is nothing at %s.", clean(r.URL.Path, 200)))
	})
	m.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		allow := allowed(m, r)
		w.Header().Set("Allow", allow)
		s.fail(w, r, refuse(codeMethod, "%s is not possible here, only %s.", clean(r.Method, 20), allow))
	})

	read(m, "/healthz", healthz)
	read(m, "/_s/*", static.Handler().ServeHTTP)
	read(m, "/favicon.ico", noFavicon)
	read(m, "/login", s.loginPage)
	m.Post("/login", s.login)
	m.Post("/logout", s.act(s.logout))

	read(m, "/", s.act(home))
	read(m, "/devices", s.page(s.devicesPage))
	read(m, "/devices/{id}", s.act(deviceHome))
	read(m, "/devices/{id}/{tab}", s.page(s.devicePage))
	m.Post("/devices/{id}/tunnel/connect", s.act(s.connectPage))
	m.Post("/devices/{id}/tunnel/disconnect", s.act(s.disconnectPage))
	m.Post("/devices/{id}/tunnel/keep-open", s.act(s.keepOpenPage))
	m.Post("/devices/{id}/approve", s.act(s.approvePage))
	m.Post("/devices/{id}/revoke", s.act(s.revokePage))
	m.Post("/devices/{id}/ports/check", s.act(s.checkPortsPage))
	m.Post("/devices/{id}/ports/{act}", s.act(s.portsAct))
	m.Post("/devices/{id}/terminal/ticket", s.act(s.terminalTicket))
	m.Get("/devices/{id}/terminal/ws", s.act(s.terminalSocket))
	read(m, "/tunnels", s.page(s.tunnelsPage))
	read(m, "/activity", s.page(s.activityPage))
	read(m, "/enrolment", s.page(s.enrolmentPage))
	m.Post("/enrolment", s.act(s.enrolmentForm))
	m.Get("/events", s.act(s.events))
	s.apiRoutes(m)
	return m
}

// apiRoutes are the routes for programs.
func (s *Server) apiRoutes(m *chi.Mux) {
	m.Post("/api/tunnel/connect", s.call(connect, s.apiConnect))
	read(m, "/api/tunnel/status", s.call(look, s.apiStatus))
	read(m, "/api/tunnel/connect/status", s.call(look, s.apiStatus))
	m.Delete("/api/tunnel/disconnect", s.call(connect, s.apiDisconnect))
	read(m, "/api/tunnels", s.call(look, s.apiTunnels))
	read(m, "/api/devices", s.call(look, s.apiDevices))
	read(m, "/api/devices/{id}", s.call(look, s.apiDevice))
	read(m, "/api/devices/{id}/ports", s.act(s.apiPorts))
	m.Put("/api/devices/{id}/ports", s.act(s.apiSetPorts))
	m.Post("/api/devices/{id}/ports/check", s.call(connect, s.apiCheckPorts))
	m.Post("/api/devices/{id}/approve", s.call(manage, s.apiApprove))
	m.Post("/api/devices/{id}/quarantine", s.call(manage, s.apiQuarantine))
	m.Post("/api/devices/{id}/revoke", s.call(manage, s.apiRevoke))
	read(m, "/api/activity", s.call(look, s.apiActivity))
	m.Post("/api/codes", s.call(manage, s.apiAddCode))
}

// read adds a route that can be read: with GET, and with HEAD, whose body the server
// leaves out.
func read(m *chi.Mux, pattern string, h http.HandlerFunc) {
	m.Get(pattern, h)
	m.Head(pattern, h)
}

// agentRoutes is all that an agent reaches.
func (s *Server) agentRoutes() http.Handler {
	return s.oneRoute(http.MethodGet, wire.PathChannel, s.agentChannel)
}

// enrolRoutes is all that a device reaches which is not enrolled.
func (s *Server) enrolRoutes() http.Handler {
	return s.oneRoute(http.MethodPost, wire.PathEnrol, s.agentEnrol)
}

// oneRoute answers one method and path; all the rest is not found.
func (s *Server) oneRoute(method, path string, h http.HandlerFunc) http.Handler {
	return headers(s.recovered(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != path:
			writeProblem(w, problemOf(refuse(codeNotFound, "There is nothing here for agents.")))
		case r.Method != method:
			w.Header().Set("Allow", method)
			writeProblem(w, problemOf(refuse(codeMethod, "Only %s is possible here.", method)))
		default:
			h(w, r)
		}
	})))
}

// allowed names the methods that a request's path has.
func allowed(m *chi.Mux, r *http.Request) string {
	var have []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if m.Match(chi.NewRouteContext(), method, r.URL.Path) {
			have = append(have, method)
		}
	}
	return strings.Join(have, ", ")
}

// healthz tells a monitor that the engine answers.
func healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, struct {
		Status string `json:"status"`
	}{"ok"})
}

// noFavicon answers browsers that do not wait for the page to name its icon.
func noFavicon(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// home is where the console begins.
func home(w http.ResponseWriter, r *http.Request, _ principal) error {
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
	return nil
}
