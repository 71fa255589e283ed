package handlers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"sync"
	"time"

	"borealis/static/downloads"

	"github.com/go-chi/chi/v5"
)

// Limits of downloads that are under way at a time.
const (
	maxDownloads       = 256 // by whoever has no session, altogether
	maxSourceDownloads = 64  // by one address of theirs: a whole site may be behind it
	maxAgentDownloads  = 64  // by agents, altogether
	maxDeviceDownloads = 2   // by one agent

	downloadTime  = 15 * time.Minute // for one of them: 15 MB at 140 kbit/s
	downloadRetry = 10 * time.Second // what is said when there are too many
)

// downloadRoutes are the agents that the engine carries. Anybody may have them: they are
// public programs, a machine that is not enrolled yet has nothing to show, and what keeps
// it from running another program is the hash in the command of the Enrolment page.
func (s *Server) downloadRoutes() []route {
	return slices.Concat(
		read("/downloads/", anyone, s.downloadList),
		read("/downloads/{name}", anyone, s.download),
	)
}

// downloadList lists the agents with their hashes, as sha256sum writes and reads them.
func (s *Server) downloadList(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, f := range s.config.Downloads.All() {
		fmt.Fprintf(w, "%s  %s\n", f.SHA256, f.Name)
	}
}

// download sends one agent.
func (s *Server) download(w http.ResponseWriter, r *http.Request) {
	if err := s.sendDownload(w, r); err != nil {
		s.fail(w, r, err)
	}
}

func (s *Server) sendDownload(w http.ResponseWriter, r *http.Request) error {
	body, f, err := s.config.Downloads.Open(chi.URLParam(r, "name"))
	if errors.Is(err, fs.ErrNotExist) {
		return refuse(codeNotFound, "This engine carries no such file. /downloads/ lists what there is.")
	}
	if err != nil {
		return err
	}
	defer body.Close()
	leave, err := s.downloads.enter(source(r))
	if err != nil {
		return err
	}
	defer leave()
	defer visitorOf(r.Context()).busy()()
	w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", f.Name))
	return sendFile(w, r, body, f)
}

// sendFile sends a file, or the part of it that is asked for. A client that has not taken
// it in time is cut off.
func sendFile(w http.ResponseWriter, r *http.Request, body io.ReadSeeker, f downloads.File) error {
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Now().Add(downloadTime)); err != nil {
		return fmt.Errorf("bound the download's time: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", `"`+f.SHA256+`"`)
	h.Set("Cache-Control", "no-cache") // may be kept, and is asked for again
	h.Set("X-Content-SHA256", f.SHA256)
	http.ServeContent(w, r, "", time.Time{}, body)
	_ = control.SetWriteDeadline(time.Time{}) // it only fails when there is no connection any more
	return nil
}

// A crowd bounds how many do something at a time, altogether and by a key.
// It is safe for concurrent use.
type crowd struct {
	most, mostEach int

	mu  sync.Mutex
	all int
	by  map[string]int
}

func newCrowd(most, mostEach int) *crowd {
	return &crowd{most: most, mostEach: mostEach, by: make(map[string]int)}
}

// enter counts one in, or refuses. The caller calls leave once.
func (c *crowd) enter(key string) (leave func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= c.most || c.by[key] >= c.mostEach {
		f := refuse(codeTooMany, "Too many downloads are under way.")
		f.retry = downloadRetry
		return nil, f
	}
	c.all++
	c.by[key]++
	return func() { c.leave(key) }, nil
}

func (c *crowd) leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.by[key]--; c.by[key] == 0 {
		delete(c.by, key)
	}
}
