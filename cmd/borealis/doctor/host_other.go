//go:build !linux

package doctor

import (
	"context"
	"errors"
	"io/fs"

	"borealis/agent/checkup"
)

func ownerOf(fs.FileInfo) int { return -1 }

func roomAt(string) (uint64, error) { return 0, errors.ErrUnsupported }

func (d *doctor) files(context.Context) checkup.Finding { return unsupported("open files") }

func (d *doctor) linkModes(context.Context) checkup.Finding { return unsupported("link") }

func (d *doctor) mtu(context.Context) checkup.Finding { return unsupported("MTU") }

// unsupported is a finding about what only Linux has.
func unsupported(name string) checkup.Finding {
	return note(name, "", "not known on this system: an engine runs on Linux")
}
