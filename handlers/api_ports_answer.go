package handlers

import (
	"time"

	"borealis/acl"
	"borealis/tunnel"
)

// answerPorts is the ports of a device as programs see them.
func answerPorts(id string, have tunnel.Ports) portsAnswer {
	now := time.Now()
	a := portsAnswer{
		DeviceID: id, Revision: have.Policy.Revision, Overridden: have.Policy.Overridden(now),
		Services: []serviceAnswer{}, Custom: []customAnswer{}, Allowed: portTexts(have.Policy.Allowed(now)),
	}
	for _, row := range have.Policy.Rows(now) {
		if row.Service != "" {
			a.Services = append(a.Services, serviceAnswer{
				ID: row.Service, Name: row.Name, Hint: row.Hint, Ports: portTexts(row.Ports),
				Allowed: row.Allowed, Default: row.Default, Override: answerOverride(row.Override),
			})
			continue
		}
		p := row.Ports[0]
		a.Custom = append(a.Custom, customAnswer{
			Port: p.String(), Protocol: p.Protocol, From: p.From, To: p.To, Label: row.Name,
			Allowed: row.Allowed, Override: answerOverride(row.Override),
		})
	}
	if have.TunnelID != "" && !have.Proof.At.IsZero() {
		proof := answerProof(have.Proof)
		a.Proof = &proof
	}
	return a
}

func answerOverride(o *acl.Override) *overrideAnswer {
	if o == nil {
		return nil
	}
	return &overrideAnswer{By: o.By, At: moment(o.At), Until: moment(o.Until), Reason: o.Reason}
}

func answerProof(p tunnel.Proof) proofAnswer {
	a := proofAnswer{
		At: p.At.UTC(), Millis: p.Took.Milliseconds(), Revision: p.Revision, By: p.By, Confirmed: p.Confirmed,
		Allowed: len(p.Open), Answering: p.Answering(), Refused: refusedSample(p), OK: p.OK(),
		Alarms: list(p.Alarms), Ports: []probeAnswer{},
	}
	for _, o := range p.Open {
		a.Ports = append(a.Ports, probeAnswer{o.Port.String(), string(o.Result)})
	}
	for _, c := range p.Closed {
		if c.Result != tunnel.Refused {
			a.Ports = append(a.Ports, probeAnswer{c.Port.String(), string(c.Result)})
		}
	}
	return a
}
