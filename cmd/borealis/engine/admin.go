package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"borealis/cmd/hint"
	"borealis/handlers"
)

// Limits of the admin listener.
const (
	adminTimeout = 15 * time.Second // for a request, and for its answer
	adminHeader  = 8 << 10          // bytes
	unixPrefix   = "unix:"
	unixMode     = 0o660 // of the socket: its owner and its group
)

// CheckMetrics refuses an address for the admin listener that others than this host could reach: it
// asks nobody who they are, and is not encrypted. The error is a [hint.Usage].
func CheckMetrics(address string) error {
	if address == "" {
		return nil
	}
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		if path == "" {
			return hint.Usage("--metrics unix: the path of the socket is missing")
		}
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return hint.Usage(fmt.Sprintf("--metrics %q: use HOST:PORT, such as 127.0.0.1:9464, or unix:PATH", address))
	}
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return hint.Usage(fmt.Sprintf("--metrics %q: whoever reaches this listener may read it, so it is for this host only: "+
			"use 127.0.0.1:PORT, [::1]:PORT or unix:PATH, and let a proxy that knows its clients pass it on", address))
	}
	return nil
}

// An admin serves metrics and the engine's state to this host, without encryption. The zero value
// does not.
type admin struct {
	listener net.Listener
	server   *http.Server
	served   chan struct{}
}

// openAdmin listens for those who watch the engine, if it is to.
func (e *Engine) openAdmin(ctx context.Context) (err error) {
	if e.config.Metrics == "" {
		return nil
	}
	if e.admin.listener, err = listenLocal(ctx, e.config.Metrics); err != nil {
		return &hint.Error{Err: fmt.Errorf("listen for metrics: %w", err), Hint: "another engine or exporter may be running there; choose another address with --metrics"}
	}
	if a, ok := e.admin.listener.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() { // what "localhost" has turned out to be
		return &hint.Error{Err: fmt.Errorf("listen for metrics: %s is not an address of this host alone", a), Hint: "use --metrics 127.0.0.1:9464"}
	}
	return nil
}

func listenLocal(ctx context.Context, address string) (net.Listener, error) {
	path, ok := strings.CutPrefix(address, unixPrefix)
	if !ok {
		return listen(ctx, address)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, unixMode); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// removeStale removes a socket that an engine left which was killed. What is not a socket, or has
// somebody behind it, stays.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is not a socket", path)
	}
	if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path); err == nil {
		conn.Close()
		return fmt.Errorf("%s is in use", path)
	}
	return os.Remove(path)
}

// startAdmin serves on what openAdmin has opened.
func (e *Engine) startAdmin() {
	a := &e.admin
	if a.listener == nil {
		return
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", e.figures.Handler())
	mux.HandleFunc("GET /healthz", e.adminHealth)
	mux.HandleFunc("GET /readyz", e.adminReady)
	a.server = &http.Server{
		Handler: mux, ReadTimeout: adminTimeout, WriteTimeout: adminTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: adminHeader,
		ErrorLog: slog.NewLogLogger(e.config.Logger.Handler(), slog.LevelDebug),
	}
	a.served = make(chan struct{})
	go func() {
		defer close(a.served)
		if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			e.config.Logger.Error("metrics_failed", "err", err)
		}
	}()
}

// close ends what openAdmin and startAdmin began.
func (a *admin) close() {
	switch {
	case a.server != nil:
		a.server.Close()
		<-a.served
	case a.listener != nil:
		a.listener.Close()
	}
}

// adminHealth answers as the watchdog does.
func (e *Engine) adminHealth(w http.ResponseWriter, r *http.Request) {
	if err := e.Healthy(r.Context()); err != nil {
		answerJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unhealthy", "why": err.Error()})
		return
	}
	answerJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// A partState is how a part of the engine is, as the admin listener says it.
type partState struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
	Why   string `json:"why,omitempty"` // it is not
}

// adminReady tells which parts of the engine are ready, and why others are not.
func (e *Engine) adminReady(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		Ready bool        `json:"ready"`
		Parts []partState `json:"parts"`
	}{Ready: true}
	for _, p := range append(e.Handlers.Parts(r.Context()), handlers.Part{Name: "listener", Err: e.serving()}) {
		state := partState{Name: p.Name, Ready: p.Err == nil}
		if p.Err != nil {
			state.Why, answer.Ready = p.Err.Error(), false
		}
		answer.Parts = append(answer.Parts, state)
	}
	status := http.StatusOK
	if !answer.Ready {
		status = http.StatusServiceUnavailable
	}
	answerJSON(w, status, answer)
}

// serving is why nobody is served any more; nil while they are.
func (e *Engine) serving() error {
	if e.stopped.Load() {
		return errors.New("the listener for browsers and agents has ended")
	}
	return nil
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked went away: nothing to do
}
