package handlers

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// allowedHosts refuses requests that call the console by a name it does not have.
// That is what a page does whose own name was made to point here (DNS rebinding),
// and to the browser everything else about such a request looks right. The address that
// a connection came to is no such name.
func (s *Server) allowedHosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host := requestHost(r); !s.hosts[host] && host != localAddress(r) {
			s.fail(w, r, refuse(codeWrongHost, "This console is not called %q.", clean(r.Host, maxHost)))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// localAddress is the address of this machine that a request's connection came to; "-"
// when that is not known.
func localAddress(r *http.Request) string {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return "-"
	}
	return at.AddrPort().Addr().Unmap().WithZone("").String()
}

const maxHost = 253 // characters of a host's name

// requestHost is the host that a request names, without port; "" when it is not one.
// Brackets are for IPv6 addresses, and these for brackets.
func requestHost(r *http.Request) string {
	host := r.Host
	if _, port, err := net.SplitHostPort(host); err == nil {
		if !digits(port) {
			return ""
		}
		host = strings.TrimSuffix(host, ":"+port)
	}
	bare, left := strings.CutPrefix(host, "[")
	bare, right := strings.CutSuffix(bare, "]")
	if six := strings.Contains(bare, ":"); left != six || right != six {
		return ""
	}
	return canonicalHost(bare)
}

// canonicalHost is one spelling for all of a host's: lower case, and addresses as
// netip writes them.
func canonicalHost(host string) string {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String()
	}
	return strings.ToLower(host)
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
