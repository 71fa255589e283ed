package views

import (
	"strconv"

	"github.com/a-h/templ"
)

// searching is the page with a text in its search field.
func (p Page) searching(query string) Page {
	p.query = query
	return p
}

// pages is the number of pages that what matches fills.
func (v Devices) pages() int {
	if v.PageSize <= 0 {
		return 1
	}
	return (v.Matching + v.PageSize - 1) / v.PageSize
}

// chosen says that only some of the devices are asked for.
func (v Devices) chosen() bool { return v.Query != "" || v.Site != "" || v.State != "" }

// url is another page of the same choice.
func (v Devices) url(page int) templ.SafeURL { return devicesURL(v.Query, v.Site, v.State, page) }

// summary says how many devices there are, and how many of them match.
func (v Devices) summary() string {
	if !v.chosen() {
		return count(v.Total, "device")
	}
	text := strconv.Itoa(v.Matching) + " of " + count(v.Total, "device") + " match"
	if v.Query != "" {
		text += " “" + plain(v.Query) + "”"
	}
	return text + v.held()
}

// held names the site and the state that the list is held to.
func (v Devices) held() string {
	text := ""
	if v.Site != "" {
		text += ", site " + plain(v.Site)
	}
	if v.State != "" {
		text += ", " + plain(v.State)
	}
	return text
}

// nothing says why the list is empty.
func (v Devices) nothing() string {
	if v.Query == "" {
		return "No device is like that" + v.held() + "."
	}
	return "No host name, address or site contains “" + plain(v.Query) + "”" + v.held() + "."
}

func tunnelLive(state string) bool { return Tunnel{State: state}.Live() }
