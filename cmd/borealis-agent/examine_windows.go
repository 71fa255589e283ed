package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/windows"

	"borealis/agent/checkup"
	"borealis/agent/service"
	"borealis/agent/setup"
)

// installedData is the data root of the agent that is installed here, or the usual one.
func installedData() string {
	place, err := setup.FindPlace("")
	if err != nil {
		return defaultData()
	}
	return place.Data
}

// hostChecks looks at what is special on this system.
func hostChecks(data string) []checkup.Finding {
	rights := checkup.Well("rights", "elevated")
	if err := service.Elevated(); err != nil {
		rights = checkup.Finding{Name: "rights", OK: true, Detail: "not elevated: some answers may be missing", Hint: moreRights}
	}
	return []checkup.Finding{rights, serviceCheck(), folderCheck(data), eventsCheck()}
}

// installAgain mends what an installation has made.
const installAgain = "run \"borealis-agent.exe install --code STRING\" again: it repairs what is there"

// serviceCheck asks the service manager.
func serviceCheck() checkup.Finding {
	const name = "service"
	s, err := service.Query(setup.ServiceName)
	if err != nil {
		return checkup.Unwell(name, err, "")
	}
	place, err := setup.FindPlace("")
	if err != nil {
		return checkup.Unwell(name, err, "")
	}
	switch {
	case !s.Installed:
		return checkup.Unwell(name, fmt.Errorf("%s is not installed", setup.ServiceName), "run \"borealis-agent.exe install --code STRING\"")
	case !s.Starts(place.Program):
		return checkup.Unwell(name, fmt.Errorf("%s starts another program: %s", setup.ServiceName, s.Command), "find out who changed it, then install again")
	case !strings.HasPrefix(s.Command, `"`):
		return checkup.Unwell(name, fmt.Errorf("the path of %s is not quoted: %s", setup.ServiceName, s.Command), installAgain)
	case !s.Automatic:
		return checkup.Unwell(name, fmt.Errorf("%s does not start with Windows", setup.ServiceName), installAgain)
	case !s.Running:
		return checkup.Unwell(name, fmt.Errorf("%s does not run", setup.ServiceName), "start it: sc.exe start "+setup.ServiceName+"; why it ended is in the event log")
	}
	return checkup.Well(name, "%s runs as process %d and starts with Windows", setup.ServiceName, s.PID)
}

// folderCheck looks whether people who are no administrators may use the data root.
func folderCheck(data string) checkup.Finding {
	const name = "folders"
	sd, err := windows.GetNamedSecurityInfo(data, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkup.Unwell(name, fmt.Errorf("%s is not there", data), "install the agent: that makes it")
	case errors.Is(err, fs.ErrPermission):
		return checkup.Well(name, "%s is closed to this user", data)
	case err != nil:
		return checkup.Unwell(name, &os.PathError{Op: "look at", Path: data, Err: err}, "")
	}
	if who := outsiders(sd.String()); len(who) > 0 {
		return checkup.Unwell(name, fmt.Errorf("%s may use %s, which is for SYSTEM and administrators", strings.Join(who, " and "), data), installAgain)
	}
	return checkup.Well(name, "%s is for SYSTEM and administrators", data)
}

// everybody are those whom an access list may name who are not all administrators.
var everybody = map[string]string{
	"WD": "everyone", "BU": "all users", "AU": "all who sign in", "IU": "all who sign in here", "BG": "guests", "AN": "anonymous callers",
}

// outsiders are those of everybody to whom an access list, in the language of security
// descriptors, allows anything.
func outsiders(list string) []string {
	var who []string
	for entry := range strings.SplitSeq(list, "(") {
		fields := strings.Split(strings.TrimSuffix(entry, ")"), ";") // kind;flags;rights;object;inherited;account
		if len(fields) < 6 || fields[0] != "A" {
			continue
		}
		if name := everybody[fields[5]]; name != "" && !slices.Contains(who, name) {
			who = append(who, name)
		}
	}
	return who
}

// eventsCheck looks whether the event log knows the agent.
func eventsCheck() checkup.Finding {
	const name = "event log"
	there, err := service.SourceInstalled(setup.DisplayName)
	switch {
	case err != nil:
		return checkup.Unwell(name, err, "")
	case !there:
		return checkup.Unwell(name, fmt.Errorf("%q is not registered", setup.DisplayName), installAgain)
	}
	return checkup.Well(name, "%q is registered", setup.DisplayName)
}

// freeBytes is how much room the disk of a folder has.
func freeBytes(dir string) (uint64, error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free uint64
	err = windows.GetDiskFreeSpaceEx(p, &free, nil, nil)
	return free, err
}
