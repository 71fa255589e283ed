package views

import "strconv"

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

// summary says how many devices there are, and how many of them match.
func (v Devices) summary() string {
	if v.Query == "" {
		return count(v.Total, "device")
	}
	return strconv.Itoa(v.Matching) + " of " + count(v.Total, "device") + " match “" + plain(v.Query) + "”"
}

func tunnelLive(state string) bool { return Tunnel{State: state}.Live() }
