package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"borealis/handlers/access"
	"borealis/handlers/oidc"
	"borealis/store"
	"borealis/views"
)

const (
	flowCookie   = "__Host-brl-oidc"
	callbackPath = "/login/oidc/callback"
	maxSameName  = 50 // operators whose names differ by a number only
)

// A flow is a sign-in at the identity provider that is under way.
type flow struct {
	oidc.Flow

	next string
}

// checkRoles refuses a mapping that gives more than an identity provider may: an
// administrator is made on the engine's host or by another one.
func checkRoles(roles map[string]string) error {
	for value, role := range roles {
		switch {
		case role == access.Admin:
			return fmt.Errorf("the identity provider's %q cannot be mapped to the role %s: make administrators with 'borealis operator'", value, role)
		case !slices.Contains(access.Roles(), role):
			return fmt.Errorf("the identity provider's %q is mapped to the role %q, which does not exist", value, role)
		}
	}
	return nil
}

// providerPage sends the browser to the identity provider.
func (s *Server) providerPage(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if s.signIns.provider == nil {
		s.fail(w, r, refuse(codeNotFound, "This console has no identity provider."))
		return
	}
	page, f, err := s.signIns.provider.Begin(r.Context(), "https://"+r.Host+callbackPath)
	if err != nil {
		s.loginFailed(w, r, "", next, s.providerFailure(r, err))
		return
	}
	handle := newSecret()
	s.signIns.flows.put(handle, source(r), flow{f, next})
	// Lax: the browser has to bring it along when the provider sends it back.
	setCookie(w, flowCookie, handle, http.SameSiteLaxMode)
	http.Redirect(w, r, page, http.StatusSeeOther) //nolint:gosec // the provider's address is configured
}

// providerFailure is what a person learns of a sign-in at the provider that failed.
func (s *Server) providerFailure(r *http.Request, err error) error {
	switch {
	case errors.Is(err, oidc.ErrUnavailable):
		s.log.WarnContext(r.Context(), "identity_provider_unavailable", "err", err)
		return refuse(codeProviderDown, "%s does not answer.", s.config.OIDC.Title())
	case errors.Is(err, oidc.ErrRefused):
		s.recordRefusal(r.Context(), store.Record{
			Kind: signInFailed, Source: address(r), Reason: failedOIDC, Detail: clean(err.Error(), maxDetail),
		})
		return refuse(codeSignInFailed, "The sign-in at %s was not valid.", s.config.OIDC.Title())
	}
	return err
}

// providerAnswer takes what the browser brings back from the identity provider.
func (s *Server) providerAnswer(w http.ResponseWriter, r *http.Request) {
	f, ok := s.signIns.flows.take(cookieOf(r, flowCookie))
	setCookie(w, flowCookie, "", http.SameSiteLaxMode)
	if !ok || s.signIns.provider == nil {
		s.loginFailed(w, r, "", localPath(""), refuse(codeSignInFailed, "The sign-in took too long, or was finished already."))
		return
	}
	if err := s.signInByProvider(w, r, f); err != nil {
		s.loginFailed(w, r, "", f.next, err)
		return
	}
	// The browser comes from another site and has sent no session cookie, so a redirect
	// would not take the new one along either.
	s.render(w, r, http.StatusOK, views.GoOnPage(theme(r), f.next))
}

func (s *Server) signInByProvider(w http.ResponseWriter, r *http.Request, f flow) error {
	if err := s.attempt(r, stranger(r)); err != nil {
		return err
	}
	who, err := s.signIns.provider.Finish(r.Context(), f.Flow, r.URL.Query())
	if !errors.Is(err, oidc.ErrRefused) {
		s.forgive(r, stranger(r))
	}
	if err != nil {
		return s.providerFailure(r, err)
	}
	role, sites, err := s.roleOf(who)
	if err != nil {
		s.recordRefusal(r.Context(), store.Record{
			Kind: signInFailed, Source: address(r), Reason: failedOIDC, Detail: clean("no role for "+who.Subject, maxDetail),
		})
		return err
	}
	o, err := s.operatorOf(r, who, role, sites)
	if err != nil {
		return err
	}
	if err := s.mayEnter(r, o); err != nil {
		return err
	}
	return s.startSession(w, r, o, store.ByOIDC, time.Time{})
}

// roleOf is the most powerful role that the provider's claims are mapped to.
func (s *Server) roleOf(who oidc.Identity) (role string, sites []string, err error) {
	for _, one := range access.Roles() {
		if slices.Contains(who.Roles, one) {
			role = one
		}
	}
	if role == "" {
		return "", nil, refuse(codeNoRole, "%s does not say that %s may use this console.", s.config.OIDC.Title(), clean(who.Name, maxName))
	}
	if s.config.OIDC.SitesClaim == "" || !access.Scoped(role) {
		return role, nil, nil
	}
	for _, site := range who.Sites {
		if site = clean(site, maxSite); site != "" {
			sites = append(sites, site)
		}
	}
	if len(sites) == 0 {
		return "", nil, refuse(codeNoRole, "%s does not say for which sites %s may use this console.", s.config.OIDC.Title(), clean(who.Name, maxName))
	}
	slices.Sort(sites)
	return role, slices.Compact(sites), nil
}

// operatorOf finds the operator of an identity, whom nothing but issuer and subject
// names, and gives them the role that the provider says. Whoever comes for the first
// time becomes an operator.
func (s *Server) operatorOf(r *http.Request, who oidc.Identity, role string, sites []string) (store.Operator, error) {
	o, err := s.config.Store.OperatorByIdentity(r.Context(), who.Issuer, who.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return s.newOperator(r, who, store.Operator{Role: role, Sites: sites})
	}
	if err != nil || o.Role == role && slices.Equal(o.Sites, sites) {
		return o, err
	}
	did := store.Record{Source: address(r), Reason: "identity_provider"}
	err = s.config.Store.SetRole(r.Context(), o.ID, role, sites, did)
	if errors.Is(err, store.ErrLastAdmin) {
		return o, nil // somebody made them an administrator, and nobody else is one
	}
	o.Role, o.Sites = role, sites
	s.access.wake()
	return o, err
}

// newOperator adds the operator of an identity under a name that nobody has.
func (s *Server) newOperator(r *http.Request, who oidc.Identity, o store.Operator) (store.Operator, error) {
	base := operatorName(who.Name)
	did := store.Record{Source: address(r), Reason: "identity_provider"}
	for n := 1; n <= maxSameName; n++ {
		o.Name = base
		if n > 1 {
			o.Name = fmt.Sprintf("%s-%d", base, n)
		}
		if access.Reserved(o.Name) {
			continue
		}
		added, err := s.config.Store.AddOIDCOperator(r.Context(), o, who.Issuer, who.Subject, did)
		if !errors.Is(err, store.ErrConflict) {
			return added, err
		}
		// Two sign-ins of somebody new may have come at the same time.
		if o, err := s.config.Store.OperatorByIdentity(r.Context(), who.Issuer, who.Subject); !errors.Is(err, store.ErrNotFound) {
			return o, err
		}
	}
	return store.Operator{}, refuse(codeNoRole, "Too many operators are called %s already.", base)
}

const maxBaseName = 60 // characters, which leaves room for a number

// operatorName makes a name that an operator can have of what a provider says.
func operatorName(said string) string {
	name := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '@', c == '-':
			return c
		}
		return '-'
	}, clean(said, maxBaseName))
	if name = strings.Trim(name, "-"); name == "" {
		return "operator"
	}
	return name
}
