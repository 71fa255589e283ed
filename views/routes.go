package views

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/a-h/templ"
)

// devicePath is the path of a device's page or of something under it.
func devicePath(id string, rest ...string) string {
	return strings.Join(append([]string{"/devices", url.PathEscape(id)}, rest...), "/")
}

func deviceURL(id string, rest ...string) templ.SafeURL {
	return templ.SafeURL(devicePath(id, rest...))
}

// devicesURL is one page of the list of devices, or of some of them.
func devicesURL(query, site, state string, page int) templ.SafeURL {
	v := url.Values{}
	for name, value := range map[string]string{"q": query, "site": site, "state": state} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if page > 1 {
		v.Set("page", strconv.Itoa(page))
	}
	if len(v) == 0 {
		return "/devices"
	}
	return templ.SafeURL("/devices?" + v.Encode())
}

// olderURL is the activity list at path before an event.
func olderURL(path string, before int64) templ.SafeURL {
	return templ.SafeURL(path + "?before=" + strconv.FormatInt(before, 10))
}

// signInURL is the sign-in page that leads back to path.
func signInURL(path string) templ.SafeURL {
	if path == "" {
		return "/login"
	}
	return templ.SafeURL("/login?next=" + url.QueryEscape(path))
}
