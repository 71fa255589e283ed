package handlers

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/views"

	"github.com/go-chi/chi/v5"
)

const (
	maxReason   = 200                  // characters of why something was locked or set aside
	maxLockLife = 366 * 24 * time.Hour // of a lock that ends by itself
)

// lockRoutes are what keeps operators out, and devices and sites closed.
func (s *Server) lockRoutes() []route {
	return slices.Concat(
		read("/api/locks", access.ManageDevices, s.call(s.apiLocks)),
		[]route{
			{http.MethodPost, "/devices/{id}/lock", access.ManageDevices, s.act(s.lockDevicePage)},
			{http.MethodPost, "/devices/{id}/unlock", access.ManageDevices, s.act(s.unlockDevicePage)},
			{http.MethodPost, "/sites/lock", access.ManageDevices, s.act(s.lockSitePage)},
			{http.MethodPost, "/sites/unlock", access.ManageDevices, s.act(s.unlockSitePage)},
			{http.MethodPost, "/api/locks", access.ManageDevices, s.call(s.apiLock)},
			{http.MethodDelete, "/api/locks", access.ManageDevices, s.call(s.apiUnlock)},
		},
	)
}

// locks are the locks in force at a moment.
type locks []store.Lock

// locksNow reads which locks are in force.
func (s *Server) locksNow(ctx context.Context) (locks, error) {
	return s.config.Store.Locks(ctx, time.Now())
}

// of is the lock of a target; zero when there is none.
func (all locks) of(kind, target string) store.Lock {
	i := slices.IndexFunc(all, func(l store.Lock) bool { return l.Kind == kind && l.Target == target })
	if i < 0 {
		return store.Lock{}
	}
	return all[i]
}

// on are the locks that close a device: its own and its site's.
func (all locks) on(d store.Device) []store.Lock {
	var found []store.Lock
	for _, l := range []store.Lock{all.of(store.LockDevice, d.ID), all.of(store.LockSite, d.Site)} {
		if l.Kind != "" {
			found = append(found, l)
		}
	}
	return found
}

// target checks what somebody wants to lock or unlock, and returns what people call it.
func (s *Server) target(ctx context.Context, p principal, kind, target string) (name string, err error) {
	switch kind {
	case store.LockOperator:
		if err := p.need(access.ManageOperators); err != nil {
			return "", err
		}
		o, err := s.other(ctx, p, target)
		return o.Name, err
	case store.LockDevice:
		d, err := s.device(ctx, p, target)
		return d.Hostname, err
	case store.LockSite:
		if target == "" || !tidy(target, maxSite) || !p.scope().Has(target) {
			return "", invalid("target", "There is no such site.")
		}
		return target, nil
	}
	return "", invalid("kind", "The kind of lock is none of operator, device and site.")
}

// lock keeps an operator out, or a device or a site closed, from now on; a zero until is
// until it is lifted. What is open ends within a moment.
func (s *Server) lock(ctx context.Context, p principal, l store.Lock) (store.Lock, error) {
	var err error
	if l.Name, err = s.target(ctx, p, l.Kind, l.Target); err != nil {
		return l, err
	}
	l.By, l.At = p.operator.Name, time.Now()
	switch {
	case l.Reason == "" || !tidy(l.Reason, maxReason):
		return l, invalid("reason", "Say why, in 1 to %d visible characters: whoever is kept out reads it.", maxReason)
	case !l.Until.IsZero() && (!l.Until.After(l.At) || l.Until.Sub(l.At) > maxLockLife):
		return l, invalid("until", "A lock ends at a time to come, within a year, or when it is lifted.")
	}
	err = s.config.Store.AddLock(ctx, l, store.Record{}.By(p.actor()))
	switch {
	case errors.Is(err, store.ErrConflict):
		return l, refuse(codeLockedAlready, "%s is locked already.", sentence(clean(l.Name, maxSite)))
	case errors.Is(err, store.ErrNotFound):
		return l, refuse(codeNotFound, "What was to be locked does not exist, or not any more.")
	}
	return l, s.lockChanged(l.Kind, l.Target, err)
}

// unlock lifts a lock.
func (s *Server) unlock(ctx context.Context, p principal, kind, target string) error {
	if _, err := s.target(ctx, p, kind, target); err != nil {
		return err
	}
	err := s.config.Store.DeleteLock(ctx, kind, target, store.Record{}.By(p.actor()))
	if errors.Is(err, store.ErrNotFound) {
		return refuse(codeNotLocked, "It is not locked, or not any more.")
	}
	return s.lockChanged(kind, target, err)
}

// lockChanged has a lock enforced, and tells the pages that show what it is on.
func (s *Server) lockChanged(kind, target string, err error) error {
	if err := s.changed(err); err != nil {
		return err
	}
	switch kind {
	case store.LockDevice:
		s.config.Manager.Changed(target)
	case store.LockSite:
		s.config.Manager.Changed("") // any of its devices
	}
	return nil
}

// lockFromForm locks what a form says, for as long as it says.
func (s *Server) lockFromForm(r *http.Request, p principal, kind, target string) error {
	fields, err := form(r)
	if err != nil {
		return err
	}
	l := store.Lock{Kind: kind, Target: target, Reason: clean(fields.Get("reason"), maxReason)}
	if text := fields.Get("for"); text != "" {
		life, err := time.ParseDuration(text)
		if err != nil {
			return invalid("for", "The lock's life is not a time such as 8h.")
		}
		l.Until = time.Now().Add(life)
	}
	_, err = s.lock(r.Context(), p, l)
	return err
}

// lockDevicePage is the form that locks a device.
func (s *Server) lockDevicePage(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	if err := s.lockFromForm(r, p, store.LockDevice, id); err != nil {
		return plainly(err)
	}
	return s.showDevice(w, r, p, id)
}

// unlockDevicePage is the Unlock button of a device.
func (s *Server) unlockDevicePage(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	if err := s.unlock(r.Context(), p, store.LockDevice, id); err != nil {
		return plainly(err)
	}
	return s.showDevice(w, r, p, id)
}

// plainly makes a refusal of a value one of the request: a page that has no place for
// what is wrong with a field says it beside itself.
func plainly(err error) error {
	if f, ok := errors.AsType[*failure](err); ok && f.code == codeInvalid {
		return refuse(codeRefusedForm, "%s", f.detail)
	}
	return err
}

// lockSitePage is the form that locks a site.
func (s *Server) lockSitePage(w http.ResponseWriter, r *http.Request, p principal) error {
	fields, err := form(r)
	if err != nil {
		return err
	}
	return s.showSites(w, r, p, s.lockFromForm(r, p, store.LockSite, fields.Get("site")))
}

// unlockSitePage is the Unlock button of a site.
func (s *Server) unlockSitePage(w http.ResponseWriter, r *http.Request, p principal) error {
	fields, err := form(r)
	if err != nil {
		return err
	}
	return s.showSites(w, r, p, s.unlock(r.Context(), p, store.LockSite, fields.Get("site")))
}

// showSites answers an act on a site, done or refused.
func (s *Server) showSites(w http.ResponseWriter, r *http.Request, p principal, err error) error {
	status, said, err := shown(err)
	if err != nil {
		return err
	}
	if !isPart(r, "sites") {
		if said.Text != "" {
			return refuse(codeRefusedForm, "%s", said.Text)
		}
		http.Redirect(w, r, "/enrolment#sites", http.StatusSeeOther)
		return nil
	}
	v, err := s.sitesView(r.Context(), p)
	if err != nil {
		return err
	}
	v.Error = said
	s.render(w, r, status, views.SiteList(v))
	return nil
}

// sitesView is the sites that somebody may see, with who is connected to each.
func (s *Server) sitesView(ctx context.Context, p principal) (views.SiteLocks, error) {
	v := views.SiteLocks{Now: time.Now(), CanManage: p.may(access.ManageDevices)}
	sites, err := s.config.Store.Sites(ctx)
	if err != nil {
		return v, err
	}
	closed, err := s.locksNow(ctx)
	if err != nil {
		return v, err
	}
	for _, l := range closed { // of a site that has no device any more
		if l.Kind == store.LockSite && !slices.Contains(sites, l.Target) {
			sites = append(sites, l.Target)
		}
	}
	operators, err := s.connected(ctx)
	if err != nil {
		return v, err
	}
	for _, site := range sites {
		if !p.scope().Has(site) {
			continue
		}
		_, devices, err := s.config.Store.Devices(ctx, store.DeviceQuery{Scope: store.Scope{Sites: []string{site}}, Limit: 1})
		if err != nil {
			return v, err
		}
		v.Rows = append(v.Rows, views.SiteRow{
			Name: site, Devices: devices, Operators: operators[site], Lock: lockView(closed.of(store.LockSite, site)),
		})
	}
	return v, nil
}

// connected counts who uses the tunnels of each site's devices.
func (s *Server) connected(ctx context.Context) (map[string]int, error) {
	operators := make(map[string]int)
	for _, st := range s.config.Manager.Tunnels() {
		d, err := s.config.Store.Device(ctx, st.DeviceID)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		operators[d.Site] += len(st.Operators)
	}
	return operators, nil
}

// lockView is a lock as pages show it.
func lockView(l store.Lock) views.Lock {
	return views.Lock{Kind: l.Kind, Name: l.Name, Reason: l.Reason, By: l.By, At: l.At, Until: l.Until}
}
