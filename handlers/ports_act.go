package handlers

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"borealis/acl"
	"borealis/tunnel"
	"borealis/views"

	"github.com/go-chi/chi/v5"
)

// portsAct is every form of the allowed ports: it names the revision that the person
// saw, so that nobody overwrites what somebody else did meanwhile.
func (s *Server) portsAct(w http.ResponseWriter, r *http.Request, p principal) error {
	fields, err := form(r)
	if err != nil {
		return err
	}
	id, act := chi.URLParam(r, "id"), chi.URLParam(r, "act")
	d, err := s.device(r.Context(), p, id)
	if err != nil {
		return err
	}
	have, err := s.config.Manager.Ports(r.Context(), id)
	if err != nil {
		return err
	}
	revision, err := strconv.ParseInt(fields.Get("revision"), 10, 64)
	if err != nil {
		return invalid("revision", "The form does not say which revision of the ports it is about.")
	}
	if revision != have.Policy.Revision {
		return s.portsStale(w, r, p, act, fields)
	}
	edit, err := s.portsEdit(act, id, have.Policy, fields)
	if err != nil {
		return s.portsRefused(w, r, p, act, fields, err)
	}
	if fields.Get("confirmed") != "1" {
		if text := portsQuestion(act, clean(d.Hostname, 80), have, edit); text != "" {
			return s.askPorts(w, r, p, act, edit, text, fields)
		}
	}
	now, err := s.config.Manager.SetPorts(r.Context(), id, revision, edit.overrides, p.actor())
	if err != nil {
		return s.portsRefused(w, r, p, act, fields, err)
	}
	return s.portsDone(w, r, p, edit.done, have.Policy, now.Policy)
}

// portsEdit works out what a form asks for.
func (s *Server) portsEdit(act, id string, p acl.Policy, fields url.Values) (portsEdit, error) {
	if act != "undo" {
		return editPorts(act, p, fields, time.Now())
	}
	before, ok := s.undos.before(id, p.Revision)
	if !ok {
		return portsEdit{}, refuse(codeNothingToUndo, "The engine does not remember what was before.")
	}
	now := time.Now()
	before = slices.DeleteFunc(slices.Clone(before), func(o acl.Override) bool { return !o.Until.IsZero() && !o.Until.After(now) })
	return portsEdit{overrides: before, question: "Undo the change?", do: "Undo"}, nil
}

// portsQuestion is what has to be asked before a change: whether open connections may
// be cut, and whether custom ports may go.
func portsQuestion(act, host string, have tunnel.Ports, e portsEdit) string {
	now := time.Now()
	wanted := acl.Policy{OS: have.Policy.OS, Overrides: e.overrides}
	text := ""
	if n, where := cut(have, wanted.Allowed(now), now); n > 0 {
		them, does := "them", "this"
		if n == 1 {
			them = "it"
		}
		if act == "set" || act == "default" {
			does = "turning it off"
		}
		text = fmt.Sprintf("%s on %s; %s cuts %s now.", where, host, does, them)
	}
	if act != "reset" {
		return text
	}
	custom := 0
	for _, row := range have.Policy.Rows(now) {
		if row.Service == "" {
			custom++
		}
	}
	switch {
	case custom == 1:
		text = join(text, "1 custom port is removed.")
	case custom > 1:
		text = join(text, fmt.Sprintf("%d custom ports are removed.", custom))
	}
	return text
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + " " + b
}

// askPorts answers with a question: a page's script asks it in a dialog and sends the
// form again, and without scripts the page itself asks.
func (s *Server) askPorts(w http.ResponseWriter, r *http.Request, p principal, act string, e portsEdit, text string, fields url.Values) error {
	if isPart(r, "ports") {
		f := refuse(codeConfirm, "%s", text)
		f.question, f.confirm = cmp.Or(e.question, "Go on?"), cmp.Or(e.do, "Go on")
		return f
	}
	ask := views.Ask{Title: cmp.Or(e.question, "Go on?"), Text: text, Do: cmp.Or(e.do, "Go on"), Act: act}
	return s.showPorts(w, r, p, http.StatusConflict, func(v *views.Ports) {
		v.Ask = ask
		v.Ask.Fields = repeated(fields, v.Revision)
	})
}

// portsDone answers a change that was made, and offers to undo it. An undo has nothing
// to say; what was so already needs none.
func (s *Server) portsDone(w http.ResponseWriter, r *http.Request, p principal, done string, before, after acl.Policy) error {
	id, now := chi.URLParam(r, "id"), time.Now()
	var toast views.PortToast
	if after.Revision != before.Revision {
		s.undos.keep(id, after.Revision, current(before, now))
		toast = views.PortToast{
			Note: views.Note{Kind: "ok", Text: done}, Act: "undo", Do: "Undo", Fields: repeated(nil, after.Revision),
		}
	}
	if !isPart(r, "ports") {
		http.Redirect(w, r, devicePath(id, views.TabConfig), http.StatusSeeOther)
		return nil
	}
	return s.showPorts(w, r, p, http.StatusOK, func(v *views.Ports) {
		v.Saved, v.Toast = changedRows(before, after, now), toast
	})
}

// portsStale answers a form that was filled in before somebody else changed the ports:
// with the ports as they are, and a way to do it all the same.
func (s *Server) portsStale(w http.ResponseWriter, r *http.Request, p principal, act string, fields url.Values) error {
	return s.showPorts(w, r, p, http.StatusPreconditionFailed, func(v *views.Ports) {
		who := v.Changed.By
		if who == "" {
			who = "The engine"
		}
		text := fmt.Sprintf("%s changed the ports meanwhile; your change was not made.", clean(who, 64))
		hint := "Here they are as they are now."
		if v.Changed.What != "" {
			hint = sentence(clean(v.Changed.What, 200)) + ", at " + v.Changed.At.UTC().Format("15:04:05 UTC") + ". " + hint
		}
		if v.Changed.At.IsZero() {
			text = "The ports were changed meanwhile; your change was not made."
		}
		if !isPart(r, "ports") {
			v.Error = views.Note{Kind: "err", Text: text, Hint: hint}
			return
		}
		v.Toast = views.PortToast{Note: views.Note{Kind: "err", Text: text, Hint: hint}}
		if slices.Contains([]string{"set", "add", "remove", "default"}, act) {
			v.Toast.Act, v.Toast.Do = act, "Do it anyway"
			v.Toast.Fields = repeated(fields, v.Revision)
		}
	})
}

// portsRefused answers a form that asks for what cannot be.
func (s *Server) portsRefused(w http.ResponseWriter, r *http.Request, p principal, act string, fields url.Values, err error) error {
	if _, stale := errors.AsType[*tunnel.RevisionError](err); stale {
		return s.portsStale(w, r, p, act, fields)
	}
	if errors.Is(err, errNoRow) {
		return s.showPorts(w, r, p, http.StatusUnprocessableEntity, func(v *views.Ports) {
			v.Error = views.Note{Kind: "err", Text: "There is no such port any more.", Hint: "Nothing was changed."}
		})
	}
	wrong, ok := errors.AsType[*fieldError](err)
	if bad, is := errors.AsType[*acl.InvalidError](err); is {
		wrong, ok = &fieldError{bad.Field, bad.Text}, true
	}
	if !ok {
		return err
	}
	return s.showPorts(w, r, p, http.StatusUnprocessableEntity, func(v *views.Ports) {
		f := portForm(fields, wrong)
		if act == "add" {
			v.Adding = f
			return
		}
		for i := range v.Rows {
			if v.Rows[i].ID == fields.Get("row") && fields.Get("detailed") == "1" {
				v.Rows[i].Form = f
				return
			}
		}
		v.Error = views.Note{Kind: "err", Text: f.Error, Hint: "Nothing was changed."}
	})
}

// showPorts draws the card, or the page around it, after a change to it.
func (s *Server) showPorts(w http.ResponseWriter, r *http.Request, p principal, status int, change func(*views.Ports)) error {
	id := chi.URLParam(r, "id")
	v, err := s.deviceView(r.Context(), p, id, views.TabConfig, 0)
	if err != nil {
		return err
	}
	change(&v.Ports)
	if isPart(r, "ports") {
		s.render(w, r, status, views.PortsCard(v.Ports))
		return nil
	}
	frame, err := s.frame(r, p, v.Hostname, "devices", "device:"+v.ID)
	if err != nil {
		return err
	}
	s.render(w, r, status, views.DevicePage(frame, v))
	return nil
}

// checkPortsPage is the Check now button. The event stream shows what comes of it.
func (s *Server) checkPortsPage(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	if _, err := s.device(r.Context(), p, id); err != nil {
		return err
	}
	if _, err := s.config.Manager.Prove(r.Context(), id); err != nil {
		return err
	}
	if isFragment(r) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	http.Redirect(w, r, devicePath(id, views.TabConfig), http.StatusSeeOther)
	return nil
}

// repeated are the fields of a form as they are sent once more, about a revision.
func repeated(fields url.Values, revision int64) []views.Field {
	again := []views.Field{{Name: "revision", Value: fmt.Sprint(revision)}}
	for _, name := range []string{"row", "detailed", "allowed", "for", "until", "reason", "protocol", "port", "label"} {
		if fields.Has(name) {
			again = append(again, views.Field{Name: name, Value: fields.Get(name)})
		}
	}
	return again
}
