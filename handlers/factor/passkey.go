package factor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// ChallengeLife is how long a person may take to use a passkey.
const ChallengeLife = 5 * time.Minute

// Errors of passkeys. Both are wrapped with what was wrong.
var (
	ErrPasskey = errors.New("the passkey does not prove who you are")
	ErrCloned  = errors.New("the passkey's counter went back: there may be a copy of it")
)

// Passkeys asks browsers for passkeys of one host and checks what they answer.
// The user has to be verified by the authenticator, by PIN or by biometrics, so a
// passkey is two factors by itself. It is safe for concurrent use.
type Passkeys struct{ web *webauthn.WebAuthn }

// NewPasskeys returns the passkeys of a host name, for pages of one origin such as
// https://console.example:8443. The error says why the host cannot have any: browsers
// bind passkeys to a domain name, and never to an address.
func NewPasskeys(host, origin string) (*Passkeys, error) {
	if _, err := netip.ParseAddr(host); err == nil || host == "" {
		return nil, fmt.Errorf("%q is an address and not a domain name", host)
	}
	wait := webauthn.TimeoutConfig{Enforce: true, Timeout: ChallengeLife, TimeoutUVD: ChallengeLife}
	web, err := webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: "Borealis", RPOrigins: []string{origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			RequireResidentKey: protocol.ResidentKeyRequired(),
			ResidentKey:        protocol.ResidentKeyRequirementRequired,
			UserVerification:   protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{Login: wait, Registration: wait},
	})
	if err != nil {
		return nil, fmt.Errorf("%s cannot have passkeys: %w", host, err)
	}
	return &Passkeys{web}, nil
}

// An Owner is an operator as passkeys know them.
type Owner struct {
	ID, Name string
	Stored   [][]byte // their passkeys on this host, as [Passkey.Stored]
}

// A Passkey is one as it is to be stored.
type Passkey struct {
	ID     []byte // the credential's id
	Stored []byte // JSON; it holds no secret
}

// A Challenge is what a browser was asked. Whoever keeps it lets it be answered once.
type Challenge struct{ session *webauthn.SessionData }

// Register asks for a new passkey. ask is JSON for navigator.credentials.create.
func (p *Passkeys) Register(o Owner) (ask any, c Challenge, err error) {
	person, err := personOf(o)
	if err != nil {
		return nil, c, err
	}
	ask, c.session, err = p.web.BeginRegistration(person,
		webauthn.WithExclusions(webauthn.Credentials(person.credentials).CredentialDescriptors()))
	if err != nil {
		return nil, c, fmt.Errorf("ask for a passkey: %w", err)
	}
	return ask, c, nil
}

// Registered checks the answer to [Passkeys.Register]; [ErrPasskey] when it is not good.
func (p *Passkeys) Registered(o Owner, c Challenge, answer []byte) (Passkey, error) {
	person, err := personOf(o)
	if err != nil {
		return Passkey{}, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(answer)
	if err != nil {
		return Passkey{}, refused(err)
	}
	made, err := p.web.CreateCredential(person, *c.session, parsed)
	if err != nil {
		return Passkey{}, refused(err)
	}
	made.Attestation = webauthn.CredentialAttestation{} // nobody looks at it again
	return passkeyOf(made)
}

// Prove asks an operator for one of their passkeys, and whoever is there for any when
// the owner is the zero one. ask is JSON for navigator.credentials.get.
func (p *Passkeys) Prove(o Owner) (ask any, c Challenge, err error) {
	if o.ID == "" {
		ask, c.session, err = p.web.BeginDiscoverableLogin()
	} else {
		var person *person
		if person, err = personOf(o); err != nil {
			return nil, c, err
		}
		ask, c.session, err = p.web.BeginLogin(person)
	}
	if err != nil {
		return nil, c, fmt.Errorf("ask for a passkey: %w", err)
	}
	return ask, c, nil
}

// Proven checks the answer to [Passkeys.Prove] and returns the passkey with its new
// counter, to be stored. of finds the owner of a credential; its error is returned as
// it is. The error is [ErrPasskey] when the answer is not good and [ErrCloned] when the
// passkey was used elsewhere meanwhile.
func (p *Passkeys) Proven(c Challenge, answer []byte, of func(credentialID []byte) (Owner, error)) (Passkey, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes(answer)
	if err != nil {
		return Passkey{}, refused(err)
	}
	owner, err := of(parsed.RawID)
	if err != nil {
		return Passkey{}, err
	}
	person, err := personOf(owner)
	if err != nil {
		return Passkey{}, err
	}
	var used *webauthn.Credential
	if len(c.session.UserID) == 0 {
		found := func(_, _ []byte) (webauthn.User, error) { return person, nil }
		used, err = p.web.ValidateDiscoverableLogin(found, *c.session, parsed)
	} else {
		used, err = p.web.ValidateLogin(person, *c.session, parsed)
	}
	if err != nil {
		return Passkey{}, refused(err)
	}
	if used.Authenticator.CloneWarning {
		return Passkey{}, ErrCloned
	}
	return passkeyOf(used)
}

// refused wraps what the library says about an answer.
func refused(err error) error {
	if e, ok := errors.AsType[*protocol.Error](err); ok && e.DevInfo != "" {
		return fmt.Errorf("%w: %s: %s", ErrPasskey, e.Details, e.DevInfo)
	}
	return fmt.Errorf("%w: %w", ErrPasskey, err)
}

func passkeyOf(c *webauthn.Credential) (Passkey, error) {
	stored, err := json.Marshal(c)
	if err != nil {
		return Passkey{}, fmt.Errorf("write the passkey: %w", err)
	}
	return Passkey{ID: c.ID, Stored: stored}, nil
}

// A person is an [Owner] as the library wants to have it.
type person struct {
	Owner

	credentials []webauthn.Credential
}

func personOf(o Owner) (*person, error) {
	p := &person{Owner: o}
	for _, stored := range o.Stored {
		var c webauthn.Credential
		if err := json.Unmarshal(stored, &c); err != nil {
			return nil, fmt.Errorf("read a stored passkey of %s: %w", o.Name, err)
		}
		p.credentials = append(p.credentials, c)
	}
	return p, nil
}

func (p *person) WebAuthnID() []byte                         { return []byte(p.ID) }
func (p *person) WebAuthnName() string                       { return p.Name }
func (p *person) WebAuthnDisplayName() string                { return p.Name }
func (p *person) WebAuthnCredentials() []webauthn.Credential { return p.credentials }
