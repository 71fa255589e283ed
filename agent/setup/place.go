package setup

import (
	"fmt"
	"path/filepath"
	"strings"

	"borealis/agent/service"
)

// Place is where the agent is on a device.
type Place struct {
	Program string // Full path of the program.
	Data    string // The data root.
}

// DefaultPlace returns where the agent belongs: its program below the folder for programs,
// and its data in data, or, when that is "", below the folder for the data of programs. The
// folders are asked for by API. The error wraps [errors.ErrUnsupported] elsewhere than on
// Windows.
func DefaultPlace(data string) (Place, error) { return defaultPlace(data) }

// FindPlace returns where the agent is that is installed, and where it belongs when none is.
// A data that is not "" has precedence.
func FindPlace(data string) (Place, error) {
	place, err := defaultPlace(data)
	if err != nil || data != "" {
		return place, err
	}
	is, err := service.Query(ServiceName)
	if err != nil {
		return Place{}, fmt.Errorf("look for the agent: %w", err)
	}
	if root := option(is.Command, "--data"); root != "" && is.Starts(place.Program) {
		place.Data = root
	}
	return place, nil
}

// Below the data root.
func (p Place) agent() string { return filepath.Join(p.Data, "Agent") }
func (p Place) log() string   { return filepath.Join(p.agent(), "Logs", "install.log") }
func (p Place) keys() string {
	return filepath.Join(p.agent(), "Borealis", "Certificates", "VPN_Client")
}

func (p Place) installers() string {
	return filepath.Join(p.Data, "Dependencies", "VPN_Tunnel_Adapter")
}

// options are what a command line has to say about the place: nothing when it is the
// usual one.
func (p Place) options() []string {
	if usual, err := defaultPlace(""); err == nil && usual.Data == p.Data {
		return nil
	}
	return []string{"--data", p.Data}
}

// option returns what a command line that was made here says for an option, or "".
func option(command, name string) string {
	_, rest, found := strings.Cut(command, " "+name+" ")
	if !found {
		return ""
	}
	if inQuotes, quoted := strings.CutPrefix(rest, `"`); quoted {
		value, _, _ := strings.Cut(inQuotes, `"`)
		return value
	}
	value, _, _ := strings.Cut(rest, " ")
	return value
}
