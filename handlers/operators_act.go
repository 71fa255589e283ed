package handlers

import (
	"errors"
	"net/http"
	"net/url"

	"borealis/store"
	"borealis/views"

	"github.com/go-chi/chi/v5"
)

// operatorAdd is the form of a new operator. The password is in the answer and nowhere
// else.
func (s *Server) operatorAdd(w http.ResponseWriter, r *http.Request, p principal) error {
	fields, err := form(r)
	if err != nil {
		return err
	}
	f := roleForm(fields)
	f.Name = clean(fields.Get("name"), maxName)
	v := views.Operators{Form: f}
	err = chosen(f)
	if err == nil {
		var password string
		if _, password, err = s.addOperator(r.Context(), p, f.Name, f.Role, f.Sites); err == nil {
			v = views.Operators{Made: views.NewPassword{Name: f.Name, Password: password}}
		}
	}
	status, said, err := shown(err)
	if err != nil {
		return err
	}
	v.Error = said
	component, err := s.operatorsView(r, p, v)
	if err == nil {
		s.render(w, r, status, component)
	}
	return err
}

// roleForm reads what a form says of a role and its sites.
func roleForm(fields url.Values) views.OperatorForm {
	f := views.OperatorForm{Role: fields.Get("role"), Some: fields.Get("scope") == "sites"}
	if !f.Some {
		return f
	}
	for _, site := range fields["site"] {
		if site = clean(site, maxSite); site != "" && len(f.Sites) <= maxOperatorSites {
			f.Sites = append(f.Sites, site)
		}
	}
	return f
}

// chosen refuses a form that names no site where some are wanted: it would mean all.
func chosen(f views.OperatorForm) error {
	if f.Some && len(f.Sites) == 0 {
		return invalid("sites", "Choose one site at least, or every site.")
	}
	return nil
}

// shown is how a form answers that was refused because of what is in it: with the form
// and what was wrong. Any other error comes back.
func shown(err error) (status int, said views.Note, other error) {
	if err == nil {
		return http.StatusOK, views.Note{}, nil
	}
	if f, ok := errors.AsType[*failure](err); ok && f.code == codeInvalid {
		return http.StatusUnprocessableEntity, views.Note{Kind: "err", Text: f.detail}, nil
	}
	return 0, views.Note{}, err
}

// operatorRole is the form that changes role and sites.
func (s *Server) operatorRole(w http.ResponseWriter, r *http.Request, p principal) error {
	fields, err := form(r)
	if err != nil {
		return err
	}
	id, f := chi.URLParam(r, "id"), roleForm(fields)
	if err = chosen(f); err == nil {
		err = s.setRole(r.Context(), p, id, f.Role, f.Sites)
	}
	v := views.Operator{}
	if err != nil {
		v.Form, v.Field = f, "role"
	}
	return s.showOperator(w, r, p, id, v, err)
}

// operatorPassword is the Reset password button. The password is in the answer and
// nowhere else.
func (s *Server) operatorPassword(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	o, password, err := s.resetPassword(r.Context(), p, id)
	return s.showOperator(w, r, p, id, views.Operator{Made: views.NewPassword{Name: o.Name, Password: password}}, err)
}

// operatorFactors is the Reset second factors button.
func (s *Server) operatorFactors(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	return s.showOperator(w, r, p, id, views.Operator{}, s.resetFactors(r.Context(), p, id))
}

// operatorLock is the form that locks an operator.
func (s *Server) operatorLock(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	err := s.lockFromForm(r, p, store.LockOperator, id)
	v := views.Operator{}
	if err != nil {
		v.Field = "lock"
	}
	return s.showOperator(w, r, p, id, v, err)
}

// operatorUnlock is the Unlock button.
func (s *Server) operatorUnlock(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	return s.showOperator(w, r, p, id, views.Operator{}, s.unlock(r.Context(), p, store.LockOperator, id))
}

// operatorRemove is the form that removes an operator. It asks for the name, so that
// nobody removes another one than was meant.
func (s *Server) operatorRemove(w http.ResponseWriter, r *http.Request, p principal) error {
	fields, err := form(r)
	if err != nil {
		return err
	}
	id := chi.URLParam(r, "id")
	o, err := s.readOperator(r.Context(), id)
	if err != nil {
		return err
	}
	if fields.Get("name") != o.Name {
		err = invalid("name", "The name that was typed is not %q. Nothing was removed.", o.Name)
		return s.showOperator(w, r, p, id, views.Operator{Field: "name"}, err)
	}
	if err := s.removeOperator(r.Context(), p, id); err != nil {
		return err
	}
	goTo(w, r, "/operators")
	return nil
}

// operatorSession is the Revoke button of a session.
func (s *Server) operatorSession(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	err := s.revokeSession(r.Context(), p, id, chi.URLParam(r, "session"))
	return s.showOperator(w, r, p, id, views.Operator{}, err)
}

// operatorToken is the Revoke button of an API token.
func (s *Server) operatorToken(w http.ResponseWriter, r *http.Request, p principal) error {
	id := chi.URLParam(r, "id")
	err := s.revokeToken(r.Context(), p, id, chi.URLParam(r, "token"))
	return s.showOperator(w, r, p, id, views.Operator{}, err)
}

// showOperator answers an act on an operator, done or refused: htmx gets the part that
// it asked for, and a browser without scripts goes to the operator's page unless
// something has to be said.
func (s *Server) showOperator(w http.ResponseWriter, r *http.Request, p principal, id string, v views.Operator, err error) error {
	status, said, err := shown(err)
	if err != nil {
		return err
	}
	v.Error = said
	if !isFragment(r) && said.Text == "" && v.Made.Password == "" {
		http.Redirect(w, r, operatorPath(id), http.StatusSeeOther)
		return nil
	}
	component, err := s.operatorView(r, p, id, v)
	if err == nil {
		s.render(w, r, status, component)
	}
	return err
}

// goTo sends a browser to another page of the console after an act.
func goTo(w http.ResponseWriter, r *http.Request, path string) {
	if isFragment(r) {
		w.Header().Set("HX-Redirect", path)
		w.WriteHeader(http.StatusOK)
		return
	}
	http.Redirect(w, r, path, http.StatusSeeOther)
}
