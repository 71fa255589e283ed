package handlers

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwardedFor is the only header of proxies that is read.
const forwardedFor = "X-Forwarded-For"

// proxies are the addresses of the reverse proxies that may say whom they speak for.
type proxies []netip.Prefix

// has reports whether an address is a proxy's.
func (p proxies) has(a netip.Addr) bool {
	for _, network := range p {
		if network.Contains(a) {
			return true
		}
	}
	return false
}

// client is the address that a request comes from. A proxy appends whom it has the
// request from, so what counts is the last address that is not a proxy's: anything
// before it may be a stranger's invention. When what a proxy says cannot be read, the
// request comes from the proxy.
func (p proxies) client(remote netip.Addr, header http.Header) netip.Addr {
	if !p.has(remote) {
		return remote
	}
	hops := strings.Split(strings.Join(header.Values(forwardedFor), ","), ",")
	client := remote
	for _, text := range slices.Backward(hops) {
		hop, err := netip.ParseAddr(strings.Trim(text, " \t"))
		if err != nil {
			return remote
		}
		client = hop.Unmap().WithZone("")
		if !p.has(client) {
			break
		}
	}
	return client
}

// clientKey is where a request's context holds the address that it comes from.
type clientKey struct{}

// behindProxies notes where each request comes from, as the proxies in front of the
// console say. Agents are never behind one: their TLS ends here.
func (s *Server) behindProxies(next http.Handler) http.Handler {
	if len(s.config.TrustedProxies) == 0 {
		return next
	}
	trusted := proxies(s.config.TrustedProxies)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := trusted.client(remote(r.RemoteAddr), r.Header)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), clientKey{}, client)))
	})
}

// remote is the address of a connection's other end; the zero address when it has none.
func remote(addr string) netip.Addr {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}

// clientOf is the address that a request comes from.
func clientOf(r *http.Request) netip.Addr {
	if client, ok := r.Context().Value(clientKey{}).(netip.Addr); ok {
		return client
	}
	return remote(r.RemoteAddr)
}

// address is where a request comes from, as people read it.
func address(r *http.Request) string {
	if client := clientOf(r); client.IsValid() {
		return client.String()
	}
	return r.RemoteAddr
}

// source is where a request comes from, as penalties count it.
func source(r *http.Request) string {
	if client := clientOf(r); client.IsValid() {
		return sourceOf(client)
	}
	return r.RemoteAddr
}

// sourceOf is what an address counts as: a whole IPv6 network of one subscriber is one
// source.
func sourceOf(a netip.Addr) string {
	a = a.WithZone("")
	if a.Is4() {
		return a.String()
	}
	network, err := a.Prefix(64)
	if err != nil {
		return a.String()
	}
	return network.String()
}
