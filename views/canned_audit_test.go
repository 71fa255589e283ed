package views

import (
	"time"

	"github.com/a-h/templ"
)

// cannedSession is a tunnel that two people used for twelve minutes.
func cannedSession() Event {
	start := now.Add(-time.Hour)
	step := func(after time.Duration, actor, kind string) Event {
		return Event{At: start.Add(after), DeviceID: deviceID, TunnelID: "t1", Actor: actor, Kind: kind}
	}
	e := step(0, "nora", "tunnel_requested")
	e.ID, e.Hostname, e.Result = 20, "FIN-LT-0142", "done"
	e.Steps = []Event{
		e, step(40*time.Millisecond, "nora", "tunnel_up"), step(time.Second, "nora", "terminal_opened"), step(2*time.Minute, "jon", "operator_joined"),
		step(3*time.Minute, "jon", "operator_left"), step(4*time.Minute, "nora", "terminal_closed"), step(12*time.Minute+40*time.Millisecond, "", "tunnel_down"),
	}
	e.Steps[2].Target, e.Steps[5].Target, e.Steps[6].End = "1", "1", cannedIdle
	return e
}

// hostileSession holds what people and devices may call themselves.
func hostileSession() Event {
	e := cannedSession()
	e.ID, e.Hostname, e.DeviceID, e.Actor = 21, hostile, `x"/../<b>?#`, hostile
	for i := range e.Steps {
		s := &e.Steps[i]
		s.Actor, s.Target, s.Detail, s.Reason, s.End = hostile, hostile, hostile, hostile, hostileEnding
	}
	return e
}

func cannedRecords() []Event {
	return []Event{
		{ID: 42, At: now.Add(-time.Minute), Actor: "nora", Source: "203.0.113.24", Kind: "signed_in", Result: "done"},
		{ID: 41, At: now.Add(-time.Hour), Actor: "eve", Source: "198.51.100.7", Kind: "sign_in_failed", Result: "refused", Reason: "wrong_password"},
		{ID: 40, At: now.Add(-time.Hour), DeviceID: deviceID, Hostname: "FIN-LT-0142", Kind: "ports_mismatch", Result: "failed", Detail: "5900/tcp answers"},
		{
			ID: 39, At: now.Add(-time.Hour), DeviceID: `x"/../<b>?#`, Hostname: hostile, TunnelID: hostile, Actor: hostile, Source: hostile, Kind: hostile,
			Target: hostile, Result: hostile, Reason: hostile, Detail: hostile,
		},
	}
}

func cannedAudit() Audit {
	return Audit{
		Now: now, Kinds: []string{"signed_in", hostile}, Lines: cannedRecords(), Total: 4, Before: 43, Older: 39, Newer: 93,
		State: AuditState{Now: now, Records: 128, Checkpoint: 100, SignedAt: now.Add(-30 * time.Second)},
	}
}

func hostileAudit() Audit {
	v := cannedAudit()
	v.Filter = AuditFilter{Actor: hostile, Kind: hostile, Result: hostile, Device: hostile, Text: hostile, From: hostile, To: hostile}
	v.Error = Note{Kind: "err", Text: hostile, Hint: hostile}
	v.State.Checked = Note{Kind: "err", Text: hostile, Hint: hostile}
	return v
}

// cannedAuditPages are the audit trail in all its states.
func cannedAuditPages() map[string]templ.Component {
	p := cannedPage()
	return map[string]templ.Component{
		"audit":             AuditPage(p, cannedAudit()),
		"audit none":        AuditPage(p, Audit{Now: now}),
		"audit no match":    AuditPage(p, Audit{Now: now, Filter: AuditFilter{Text: "x"}, State: AuditState{Records: 3, Checkpoint: 3}}),
		"audit hostile":     AuditPage(p, hostileAudit()),
		"activity sessions": ActivityPage(p, Activity{Now: now, Events: []Event{hostileSession(), cannedSession()}}),
	}
}

// cannedAuditParts are what stands in for a piece of a page.
func cannedAuditParts() map[string]templ.Component {
	device := cannedDevice(TabSummary)
	device.Events = []Event{hostileSession(), cannedSession()}
	return map[string]templ.Component{
		"audit chain":     AuditChain(hostileAudit().State),
		"recent sessions": RecentActivity(device),
	}
}
