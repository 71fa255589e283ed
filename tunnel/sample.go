package tunnel

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"borealis/acl"
)

// How many closed ports a proof probes.
const (
	sampleSize      = 61
	sampleNeighbour = 24 // at most so many because they are beside an open one
	sampleRandom    = 8  // at least so many by chance
	randomTries     = 1000
)

// openProbes are the open ports; of a range its first and last.
func openProbes(open []acl.Port) []probing {
	var probes []probing
	for _, p := range open {
		probes = append(probes, probing{port: single(p.Protocol, p.From), rule: p})
		if p.To != p.From {
			probes = append(probes, probing{port: single(p.Protocol, p.To), rule: p})
		}
	}
	return probes
}

// closedProbes are a sample of the ports that are not open: those of the built-in
// services, those beside an open one, well-known ones, and some by chance.
func closedProbes(open []acl.Port) []probing {
	s := sample{open: open, taken: make(map[acl.Port]bool)}
	for _, service := range acl.Services() {
		for _, p := range service.Ports {
			s.add(p.Protocol, p.From)
		}
	}
	s.neighbours()
	for _, port := range []uint16{53, 137, 161, 500, 1900, 5353} {
		s.add(acl.UDP, port)
	}
	for _, port := range []uint16{
		445, 135, 139, 80, 443, 8080, 8443, 21, 23, 25, 53, 88, 111, 389, 636, 1433, 1521, 2049, 2375, 3306, 5432, 5357,
		6379, 9100, 11211, 27017, 3268, 9389, 10250, 873, 515, 548, 631, 1723, 5060, 8000, 8888, 9000, 9200, 5901,
	} {
		if len(s.ports) < sampleSize-sampleRandom {
			s.add(acl.TCP, port)
		}
	}
	for range randomTries {
		if len(s.ports) < sampleSize {
			s.add(acl.TCP, 1+uint16(rand.IntN(65535))) //nolint:gosec // which ports are probed is no secret, and it fits
		}
	}
	slices.SortFunc(s.ports, func(a, b probing) int {
		return cmp.Or(cmp.Compare(a.port.From, b.port.From), cmp.Compare(a.port.Protocol, b.port.Protocol))
	})
	return s.ports
}

// A sample collects closed ports.
type sample struct {
	open  []acl.Port
	taken map[acl.Port]bool
	ports []probing
}

// add takes a port into the sample when it is closed.
func (s *sample) add(protocol string, port uint16) {
	p := single(protocol, port)
	if port == 0 || s.taken[p] || acl.Contains(s.open, protocol, port) {
		return
	}
	s.taken[p] = true
	s.ports = append(s.ports, probing{port: p})
}

// neighbours takes the ports beside the open ones, some of them when there are many.
func (s *sample) neighbours() {
	all := slices.Clone(s.open)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // no secret
	most := len(s.ports) + sampleNeighbour
	for _, p := range all {
		if len(s.ports)+2 > most {
			return
		}
		s.add(p.Protocol, p.From-1)
		s.add(p.Protocol, p.To+1) // after the last port comes 0, which is none
	}
}

func single(protocol string, port uint16) acl.Port {
	return acl.Port{Protocol: protocol, From: port, To: port}
}
