package handlers

import (
	"net/http"
	"slices"
	"strings"

	"borealis/agent/wire"
	"borealis/handlers/access"
	"borealis/static"

	"github.com/go-chi/chi/v5"
)

// A route is one row of the table of all that browsers and programs reach. What is not
// in the table does not exist; the defence in front of it lets nobody pass who lacks
// what the row asks for.
type route struct {
	method  string
	pattern string
	needs   access.Right // anyone, or what the role must allow
	handler http.HandlerFunc
}

// anyone marks the few routes that need no session.
const anyone access.Right = ""

// table is every route of the console and its API.
func (s *Server) table() []route {
	return slices.Concat(
		s.signInRoutes(),
		s.verifyRoutes(),
		s.accountRoutes(),
		s.deviceRoutes(),
		s.trustRoutes(),
		s.updateRoutes(),
		s.enrolmentRoutes(),
		s.downloadRoutes(),
		s.lockRoutes(),
		s.operatorRoutes(),
		s.activityRoutes(),
		s.auditRoutes(),
		s.tunnelRoutes(),
	)
}

// signInRoutes are what can be reached without a session, and its end.
func (s *Server) signInRoutes() []route {
	return slices.Concat(
		read("/healthz", anyone, healthz),
		read("/readyz", anyone, s.readyz),
		read("/_s/*", anyone, static.Handler().ServeHTTP),
		read("/favicon.ico", anyone, noFavicon),
		read("/login", anyone, s.loginPage),
		read("/login/second", anyone, s.secondPage),
		[]route{
			{http.MethodPost, "/login", anyone, s.login},
			{http.MethodGet, "/login/oidc", anyone, s.providerPage},
			{http.MethodGet, callbackPath, anyone, s.providerAnswer},
			{http.MethodPost, "/login/second", anyone, s.second},
			{http.MethodPost, "/login/second/passkey/options", anyone, s.askSecond},
			{http.MethodPost, "/login/second/passkey", anyone, s.secondByPasskey},
			{http.MethodPost, "/login/passkey/options", anyone, s.askSignIn},
			{http.MethodPost, "/login/passkey", anyone, s.signInByPasskey},
			{http.MethodPost, "/logout", access.Look, s.act(s.logout)},
		},
	)
}

// deviceRoutes are devices, their pages, ports and terminals.
func (s *Server) deviceRoutes() []route {
	return slices.Concat(
		read("/", access.Look, s.act(home)),
		read("/devices", access.Look, s.page(s.devicesPage)),
		read("/devices/{id}", access.Look, s.act(deviceHome)),
		read("/devices/{id}/{tab}", access.Look, s.page(s.devicePage)),
		read("/api/devices", access.Look, s.call(s.apiDevices)),
		read("/api/devices/{id}", access.Look, s.call(s.apiDevice)),
		read("/api/devices/{id}/ports", access.Look, s.act(s.apiPorts)),
		read("/api/devices/{id}/timeline", access.Look, s.call(s.apiTimeline)),
		[]route{
			{http.MethodPost, "/devices/{id}/tunnel/connect", access.Connect, s.act(s.connectPage)},
			{http.MethodPost, "/devices/{id}/tunnel/disconnect", access.Connect, s.act(s.disconnectPage)},
			{http.MethodPost, "/devices/{id}/tunnel/keep-open", access.Connect, s.act(s.keepOpenPage)},
			{http.MethodPost, "/devices/{id}/doctor", access.Connect, s.act(s.doctorPage)},
			{http.MethodPost, "/api/devices/{id}/doctor", access.Connect, s.call(s.apiDoctor)},
			{http.MethodPost, "/devices/{id}/ports/check", access.Connect, s.act(s.checkPortsPage)},
			{http.MethodPost, "/devices/{id}/ports/{act}", access.ChangePorts, s.act(s.portsAct)},
			{http.MethodPost, "/devices/{id}/terminal/ticket", access.Connect, s.act(s.terminalTicket)},
			{http.MethodGet, "/devices/{id}/terminal/ws", access.Connect, s.act(s.terminalSocket)},
			{http.MethodPut, "/api/devices/{id}/ports", access.ChangePorts, s.act(s.apiSetPorts)},
			{http.MethodPost, "/api/devices/{id}/ports/check", access.Connect, s.call(s.apiCheckPorts)},
		},
	)
}

// activityRoutes are what happened, and what happens.
func (s *Server) activityRoutes() []route {
	return slices.Concat(
		read("/activity", access.Look, s.page(s.activityPage)),
		read("/api/activity", access.Look, s.call(s.apiActivity)),
		[]route{{http.MethodGet, "/events", access.Look, s.act(s.events)}},
	)
}

// tunnelRoutes are the tunnels.
func (s *Server) tunnelRoutes() []route {
	return slices.Concat(
		read("/tunnels", access.Look, s.page(s.tunnelsPage)),
		read("/api/tunnel/status", access.Look, s.call(s.apiStatus)),
		read("/api/tunnel/connect/status", access.Look, s.call(s.apiStatus)),
		read("/api/tunnels", access.Look, s.call(s.apiTunnels)),
		[]route{
			{http.MethodPost, "/api/tunnel/connect", access.Connect, s.call(s.apiConnect)},
			{http.MethodDelete, "/api/tunnel/disconnect", access.Connect, s.call(s.apiDisconnect)},
		},
	)
}

// read is a route that can be read: with GET, and with HEAD, whose body the server
// leaves out.
func read(pattern string, needs access.Right, h http.HandlerFunc) []route {
	return []route{{http.MethodGet, pattern, needs, h}, {http.MethodHead, pattern, needs, h}}
}

// routes makes the router of the table.
func (s *Server) routes(table []route) *chi.Mux {
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
	for _, row := range table {
		m.Method(row.method, row.pattern, row.handler)
	}
	return m
}

// agentRoutes is all that an agent reaches.
func (s *Server) agentRoutes() http.Handler {
	return s.deviceSide(
		deviceRoute{http.MethodGet, wire.PathChannel, s.agentChannel},
		deviceRoute{http.MethodGet, wire.PathFile, s.agentFile},
		deviceRoute{http.MethodPost, wire.PathTrial, s.agentTrial},
	)
}

// enrolRoutes is all that a device reaches which is not enrolled.
func (s *Server) enrolRoutes() http.Handler {
	return s.deviceSide(deviceRoute{http.MethodPost, wire.PathEnrol, s.agentEnrol})
}

// A deviceRoute is one thing that devices reach. A path that ends in a slash is that of
// all below it.
type deviceRoute struct {
	method  string
	path    string
	handler http.HandlerFunc
}

// deviceSide answers the requests for its routes; all the rest is not found.
func (s *Server) deviceSide(table ...deviceRoute) http.Handler {
	return headers(s.recovered(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i := slices.IndexFunc(table, func(row deviceRoute) bool {
			return r.URL.Path == row.path || strings.HasSuffix(row.path, "/") && strings.HasPrefix(r.URL.Path, row.path)
		})
		switch {
		case i < 0:
			writeProblem(w, problemOf(refuse(codeNotFound, "There is nothing here for agents.")))
		case r.Method != table[i].method:
			w.Header().Set("Allow", table[i].method)
			writeProblem(w, problemOf(refuse(codeMethod, "Only %s is possible here.", table[i].method)))
		default:
			table[i].handler(w, r)
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
