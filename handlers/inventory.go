package handlers

import (
	"context"
	"time"

	"borealis/views"
)

// An inventoryAnswer is what a device is made of, as it said last. It is not to be trusted.
type inventoryAnswer struct {
	At         time.Time       `json:"at"` // when it said so
	Edition    string          `json:"edition"`
	Build      string          `json:"build"`
	CPU        string          `json:"cpu"`
	Cores      int             `json:"cores"`  // logical processors
	Memory     int64           `json:"memory"` // bytes
	Disks      []diskAnswer    `json:"disks"`
	Adapters   []adapterAnswer `json:"adapters"`
	LastUser   string          `json:"last_user"` // "" when that is not known
	Booted     *time.Time      `json:"booted"`
	Link       string          `json:"link"`        // what its tunnels stand on
	LinkReason string          `json:"link_reason"` // why, in one sentence
	Driver     string          `json:"driver"`      // version of the driver in use, or ""
	Limits     []string        `json:"limits"`      // what its own policy forbids, one sentence each
}

// A diskAnswer is one volume of a device.
type diskAnswer struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // file system
	Size int64  `json:"size"` // bytes
	Free int64  `json:"free"` // bytes
}

// An adapterAnswer is one network adapter of a device.
type adapterAnswer struct {
	Name      string   `json:"name"`
	MAC       string   `json:"mac"` // "" when it has none
	Addresses []string `json:"addresses"`
}

// inventoryAnswer is the inventory of a device that the caller may see; nil when it never
// sent one.
func (s *Server) inventoryAnswer(ctx context.Context, id string) (*inventoryAnswer, error) {
	i, at, err := s.config.Manager.Inventory(ctx, id)
	if err != nil || at.IsZero() {
		return nil, err
	}
	a := inventoryAnswer{
		At: at, Edition: i.Edition, Build: i.Build, CPU: i.CPU, Cores: i.Cores, Memory: i.Memory,
		Disks: []diskAnswer{}, Adapters: []adapterAnswer{}, LastUser: i.LastUser, Booted: moment(i.Booted),
		Link: i.Link, LinkReason: i.LinkReason, Driver: i.Driver, Limits: append([]string{}, i.Limits...),
	}
	for _, d := range i.Disks {
		a.Disks = append(a.Disks, diskAnswer(d))
	}
	for _, n := range i.Adapters {
		a.Adapters = append(a.Adapters, adapterAnswer{n.Name, n.MAC, append([]string{}, n.Addresses...)})
	}
	return &a, nil
}

// inventoryView is the inventory of a device that the caller may see.
func (s *Server) inventoryView(ctx context.Context, id string) (views.Inventory, error) {
	i, at, err := s.config.Manager.Inventory(ctx, id)
	if err != nil || at.IsZero() {
		return views.Inventory{}, err
	}
	v := views.Inventory{
		At: at, Edition: i.Edition, Build: i.Build, CPU: i.CPU, Cores: i.Cores, Memory: i.Memory,
		LastUser: i.LastUser, Booted: i.Booted, Link: i.Link, LinkReason: i.LinkReason, Driver: i.Driver, Limits: i.Limits,
	}
	for _, d := range i.Disks {
		v.Disks = append(v.Disks, views.Disk(d))
	}
	for _, n := range i.Adapters {
		v.Adapters = append(v.Adapters, views.Adapter(n))
	}
	return v, nil
}
