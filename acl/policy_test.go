package acl

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func custom(protocol string, from, to uint16) Override {
	return Override{Port: Port{Protocol: protocol, From: from, To: to}, Allowed: true}
}

func texts(ports []Port) []string {
	got := []string{}
	for _, p := range ports {
		got = append(got, p.String())
	}
	return got
}

func TestPolicyAllowed(t *testing.T) {
	t.Parallel()
	defaults := []string{"47002/tcp", "3389/tcp", "3389/udp", "5985/tcp", "5986/tcp", "5900/tcp", "3478/udp"}
	var allOff []Override
	for _, s := range Services() {
		allOff = append(allOff, Override{Service: s.ID})
	}
	for _, c := range []struct {
		name      string
		overrides []Override
		want      []string
	}{
		{"no override", nil, defaults},
		{"all off", allOff, []string{}},
		{"one off", []Override{{Service: "rdp"}}, []string{"47002/tcp", "5985/tcp", "5986/tcp", "5900/tcp", "3478/udp"}},
		{"one on", []Override{{Service: "ssh", Allowed: true}}, append(slices.Clip(defaults), "22/tcp")},
		{"off until later", []Override{{Service: "vnc", Until: noon.Add(time.Second)}}, []string{"47002/tcp", "3389/tcp", "3389/udp", "5985/tcp", "5986/tcp", "3478/udp"}},
		{"off until now", []Override{{Service: "vnc", Until: noon}}, defaults},
		{"custom", []Override{custom(TCP, 9000, 9000), custom(UDP, 8000, 8010)}, append(slices.Clip(defaults), "8000-8010/udp", "9000/tcp")},
		{"custom that is off", []Override{{Port: Port{Protocol: TCP, From: 9000, To: 9000}}}, defaults},
		{"custom that has expired", []Override{{Port: Port{Protocol: TCP, From: 9000, To: 9000}, Allowed: true, Until: noon}}, defaults},
	} {
		got := Policy{OS: "windows", Overrides: c.overrides}.Allowed(noon)
		if diff := cmp.Diff(c.want, texts(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if got == nil {
			t.Errorf("%s: nil, which would mean that there is no policy", c.name)
		}
	}
}

func TestPolicyRows(t *testing.T) {
	t.Parallel()
	p := Policy{OS: "linux", Overrides: []Override{
		{Service: "ssh", By: "nora", At: noon},
		{Port: Port{Protocol: TCP, From: 8443, To: 8443}, Label: "Grafana", Allowed: true, By: "jon"},
	}}
	if !p.Overridden(noon) || (Policy{Overrides: []Override{{Service: "ssh", Until: noon}}}).Overridden(noon) {
		t.Error("Overridden does not tell an override that holds from one that has expired")
	}
	rows := p.Rows(noon)
	if len(rows) != len(Services())+1 {
		t.Fatalf("%d rows, want one for each service and one custom", len(rows))
	}
	if first := rows[0]; first.Name != "Shell" || !first.Allowed || !first.Default || first.Override != nil {
		t.Errorf("the shell of a Linux device is %+v", first)
	}
	ssh, last := rows[len(rows)-2], rows[len(rows)-1]
	if ssh.Allowed || !ssh.Default || ssh.Override == nil || ssh.Override.By != "nora" {
		t.Errorf("ssh is %+v", ssh)
	}
	if last.Name != "Grafana" || last.Service != "" || !last.Allowed || last.Default || last.Override.By != "jon" {
		t.Errorf("the custom port is %+v", last)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	var full []Override
	for i := range MaxCustom {
		full = append(full, custom(TCP, uint16(10000+10*i), uint16(10005+10*i)))
	}
	for _, c := range []struct {
		name      string
		overrides []Override
		index     int
		field     string // empty: it is fine
	}{
		{"nothing", nil, 0, ""},
		{"64 custom ports", full, 0, ""},
		{"a 65th", append(slices.Clip(full), custom(TCP, 9, 9)), 64, "port"},
		{"the edges", []Override{custom(TCP, 1, 21), custom(TCP, 23, 3388), custom(UDP, 65535, 65535)}, 0, ""},
		{"port 0", []Override{custom(TCP, 0, 5)}, 0, "port"},
		{"to port 0", []Override{custom(TCP, 5, 0)}, 0, "port"},
		{"reversed", []Override{custom(TCP, 6, 5)}, 0, "port"},
		{"unknown protocol", []Override{custom("sctp", 5, 5)}, 0, "port"},
		{"duplicate", []Override{custom(TCP, 5, 5), custom(TCP, 5, 5)}, 1, "port"},
		{"same number, other protocol", []Override{custom(TCP, 5, 5), custom(UDP, 5, 5)}, 0, ""},
		{"overlap at the end", []Override{custom(TCP, 5, 9), custom(TCP, 9, 12)}, 1, "port"},
		{"overlap inside", []Override{custom(TCP, 5, 9), custom(TCP, 6, 7)}, 1, "port"},
		{"side by side", []Override{custom(TCP, 5, 9), custom(TCP, 10, 12)}, 0, ""},
		{"a service's port", []Override{custom(TCP, 3000, 4000)}, 0, "port"},
		{"a service's port of the other protocol", []Override{custom(UDP, 22, 22)}, 0, ""},
		{"unknown service", []Override{{Service: "telnet"}}, 0, "service"},
		{"a service twice", []Override{{Service: "ssh"}, {Service: "ssh", Allowed: true}}, 1, "service"},
		{"a service with a port", []Override{{Service: "ssh", Port: Port{Protocol: TCP, From: 23, To: 23}}}, 0, "service"},
		{"a service with a label", []Override{{Service: "ssh", Label: "x"}}, 0, "service"},
		{"long label", []Override{{Port: Port{Protocol: TCP, From: 5, To: 5}, Label: strings.Repeat("ü", MaxLabel+1)}}, 0, "label"},
		{"longest label", []Override{{Port: Port{Protocol: TCP, From: 5, To: 5}, Label: strings.Repeat("ü", MaxLabel)}}, 0, ""},
		{"escape in a label", []Override{{Port: Port{Protocol: TCP, From: 5, To: 5}, Label: "a\x1b[2J"}}, 0, "label"},
		{"line break in a label", []Override{{Port: Port{Protocol: TCP, From: 5, To: 5}, Label: "a\nb"}}, 0, "label"},
		{"direction override in a label", []Override{{Port: Port{Protocol: TCP, From: 5, To: 5}, Label: "a\u202eb"}}, 0, "label"},
		{"no UTF-8 in a label", []Override{{Port: Port{Protocol: TCP, From: 5, To: 5}, Label: "a\xff"}}, 0, "label"},
		{"space around a label", []Override{{Port: Port{Protocol: TCP, From: 5, To: 5}, Label: " a"}}, 0, "label"},
		{"long reason", []Override{{Service: "ssh", Reason: strings.Repeat("x", MaxReason+1)}}, 0, "reason"},
		{"tab in a reason", []Override{{Service: "ssh", Reason: "a\tb"}}, 0, "reason"},
	} {
		err := Check(c.overrides)
		if c.field == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		invalid, ok := errors.AsType[*InvalidError](err)
		if !ok || invalid.Index != c.index || invalid.Field != c.field || invalid.Text == "" {
			t.Errorf("%s: %#v, want the %s of override %d", c.name, err, c.field, c.index)
		}
	}
}

func TestCheckUntil(t *testing.T) {
	t.Parallel()
	for until, fine := range map[time.Time]bool{
		{}: true, noon: false, noon.Add(-time.Hour): false, noon.Add(time.Second): true,
		noon.Add(MaxUntil): true, noon.Add(MaxUntil + time.Second): false,
	} {
		if err := CheckUntil(until, noon); (err == nil) != fine {
			t.Errorf("until %s: %v", until, err)
		}
	}
}

func TestParsePort(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"8443": "8443/tcp", " 5000 - 5010 ": "5000-5010/tcp", "5000–5010": "5000-5010/tcp", "1": "1/tcp", "65535": "65535/tcp", "7-7": "7/tcp",
		"": "", "0": "", "70000": "", "99999999999999999999": "", "5010-5000": "", "5000-": "", "-5": "", "+5": "", "5-6-7": "", "http": "", "5,6": "", "0x50": "", "80.5": "",
	} {
		p, err := ParsePort(TCP, text)
		if want == "" {
			if err == nil {
				t.Errorf("ParsePort(%q) = %s", text, p)
			}
		} else if err != nil || p.String() != want {
			t.Errorf("ParsePort(%q) = %s, %v, want %s", text, p, err, want)
		}
	}
	if p, err := ParsePort(" UDP ", "53"); err != nil || p.String() != "53/udp" {
		t.Errorf("capitals: %s %v", p, err)
	}
	if _, err := ParsePort("icmp", "53"); err == nil {
		t.Error("icmp passes as a protocol with ports")
	}
}

// FuzzParsePort checks that what is understood is written and read the same way.
func FuzzParsePort(f *testing.F) {
	for _, seed := range []string{"8443", "5000-5010", "0", "70000", "10-5", "1-65535", "a", "-", "5–6"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePort(UDP, text)
		if err != nil {
			return
		}
		written, _ := strings.CutSuffix(p.String(), "/udp")
		if again, err := ParsePort(UDP, written); err != nil || again != p {
			t.Errorf("%q is %s, which is read as %s, %v", text, p, again, err)
		}
		if p.From == 0 || p.From > p.To {
			t.Errorf("%q is %s", text, p)
		}
	})
}
