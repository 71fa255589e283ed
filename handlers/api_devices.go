package handlers

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"borealis/store"
	"borealis/tunnel"
	"borealis/tunnel/keys"

	"github.com/go-chi/chi/v5"
)

// A devicesAnswer is a part of the list of devices, by host name.
type devicesAnswer struct {
	Devices []deviceAnswer `json:"devices"`
	Total   int            `json:"total"` // how many match, whatever the limit
}

// A deviceAnswer is one device. What it says about itself is not to be trusted.
type deviceAnswer struct {
	ID           string     `json:"id"`
	Hostname     string     `json:"hostname"`
	OS           string     `json:"os"`
	OSVersion    string     `json:"os_version"`
	Arch         string     `json:"arch"`
	AgentVersion string     `json:"agent_version"`
	Online       bool       `json:"online"`
	LastSeen     *time.Time `json:"last_seen"`
	State        string     `json:"state"`      // pending, active, quarantined or revoked
	VirtualIP    string     `json:"virtual_ip"` // "" until it had a tunnel
	Site         string     `json:"site"`
}

// A deviceDetail is one device with what only its own route tells.
type deviceDetail struct {
	deviceAnswer
	Pin       string       `json:"pin"`      // SHA-256 of its identity key
	Words     string       `json:"words"`    // the same in six words, as the device shows it
	Replaces  string       `json:"replaces"` // id of the device that was known on the same machine before; "" when none was
	Link      string       `json:"link"`
	CreatedAt *time.Time   `json:"created_at"`
	Tunnel    statusAnswer `json:"tunnel"`

	Inventory *inventoryAnswer `json:"inventory"` // null until its agent said what it is made of
	Update    updateAnswer     `json:"update"`
}

// apiDevices lists devices: ?q=, ?site= and ?state= filter, ?limit= and ?offset= page.
func (s *Server) apiDevices(r *http.Request, p principal) (any, error) {
	query := r.URL.Query()
	limit, err := number(query, "limit", store.PageSize, 1, store.MaxPage)
	if err != nil {
		return nil, err
	}
	offset, err := number(query, "offset", 0, 0, maxPage)
	if err != nil {
		return nil, err
	}
	scope := p.scope()
	if site := query.Get("site"); site != "" {
		scope = within(scope, site)
	}
	found, total, err := s.config.Store.Devices(r.Context(), store.DeviceQuery{
		Scope: scope, Text: clean(query.Get("q"), maxSearch), State: query.Get("state"), Limit: limit, Offset: offset,
	})
	if err != nil {
		return nil, err
	}
	online := s.config.Manager.OnlineIDs()
	a := devicesAnswer{Devices: []deviceAnswer{}, Total: total}
	for _, d := range found {
		a.Devices = append(a.Devices, answerDevice(d, online[d.ID]))
	}
	return a, nil
}

// apiDevice is one device and its tunnel.
func (s *Server) apiDevice(r *http.Request, p principal) (any, error) {
	return s.deviceDetail(r, p, chi.URLParam(r, "id"))
}

func (s *Server) deviceDetail(r *http.Request, p principal, id string) (deviceDetail, error) {
	d, err := s.device(r.Context(), p, id)
	if err != nil {
		return deviceDetail{}, err
	}
	st, err := s.config.Manager.Status(r.Context(), id)
	if err != nil {
		return deviceDetail{}, err
	}
	pin, err := keys.ParsePin(d.Pin)
	if err != nil {
		return deviceDetail{}, fmt.Errorf("device %s: %w", d.ID, err)
	}
	if d.Replaces != "" {
		_, err := s.device(r.Context(), p, d.Replaces)
		if errors.Is(err, tunnel.ErrUnknownDevice) {
			d.Replaces = "" // it is gone, or out of scope
		} else if err != nil {
			return deviceDetail{}, err
		}
	}
	inventory, err := s.inventoryAnswer(r.Context(), id)
	if err != nil {
		return deviceDetail{}, err
	}
	_, online := s.config.Manager.Online(id)
	return deviceDetail{
		deviceAnswer: answerDevice(d, online), Pin: d.Pin, Words: pin.Words(), Replaces: d.Replaces, Link: d.Link,
		CreatedAt: moment(d.CreatedAt), Tunnel: answerStatus(st), Inventory: inventory, Update: s.updateAnswer(d),
	}, nil
}

func answerDevice(d store.Device, online bool) deviceAnswer {
	return deviceAnswer{
		ID: d.ID, Hostname: d.Hostname, OS: d.OS, OSVersion: d.OSVersion, Arch: d.Arch, AgentVersion: d.AgentVersion,
		Online: online, LastSeen: moment(d.LastSeen), State: d.State, VirtualIP: addressText(d.VirtualIP), Site: d.Site,
	}
}

// number reads a parameter that is a number within limits.
func number(query url.Values, name string, missing, least, most int) (int, error) {
	text := query.Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, invalid(name, "The parameter %s is not a number from %d to %d.", name, least, most)
	}
	return n, nil
}
