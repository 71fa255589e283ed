package views

import (
	"time"

	"github.com/a-h/templ"
)

const sixWords = "abandon ability able about above absent"

// hostileID is an id that no engine makes.
const hostileID = `x"/../<b>?#`

func cannedQueue() Queue {
	return Queue{
		Now: now, Total: 3, Most: 500, Life: 24 * time.Hour, CanManage: true,
		Waiting: []Waiting{
			{ID: "w1", Hostname: "FIN-LT-0143", OS: "windows", OSVersion: "Windows 11", Arch: "amd64", Address: "203.0.113.7", Site: "Oslo", Words: sixWords, Pin: "mfrgg", Since: now.Add(-time.Hour)},
			{ID: "w2", Hostname: "FIN-LT-0142", Since: now, Words: sixWords, Known: Known{ID: deviceID, Hostname: "FIN-LT-0142", State: "active", LastSeen: now.Add(-3 * time.Hour)}},
			{ID: "w3", Since: now, Pin: "mfrgg", Known: Known{ID: "k3", State: "quarantined"}},
		},
	}
}

func hostileQueue() Queue {
	q := cannedQueue()
	for i := range q.Waiting {
		w := &q.Waiting[i]
		w.Hostname, w.OS, w.OSVersion, w.Arch, w.Address, w.Site, w.Words, w.Pin = hostile, hostile, hostile, hostile, hostile, hostile, hostile, hostile
		w.Known = Known{ID: hostileID, Hostname: hostile, State: hostile, LastSeen: now}
	}
	return q
}

func cannedLock(kind string) Lock {
	return Lock{Kind: kind, Name: "Oslo", Reason: "stolen laptop", By: "jon", At: now.Add(-time.Minute), Until: now.Add(time.Hour)}
}

func hostileLock(kind string) Lock {
	return Lock{Kind: kind, Name: hostile, Reason: hostile, By: hostile, At: now}
}

func cannedSites() SiteLocks {
	return SiteLocks{
		Now: now, CanManage: true,
		Rows: []SiteRow{{Name: "Bergen", Devices: 1}, {Name: "Oslo", Devices: 12, Operators: 2, Lock: cannedLock("site")}},
	}
}

func hostileSites() SiteLocks {
	return SiteLocks{
		Now: now, CanManage: true, Error: Note{Kind: "err", Text: hostile},
		Rows: []SiteRow{{Name: "a\"><script>alert(1)</script>", Lock: hostileLock("site")}, {Name: "b<img src=x onerror=alert(2)>"}},
	}
}

func cannedForm() OperatorForm {
	return OperatorForm{
		Role: "operator", Roles: []string{"viewer", "operator", "auditor", "admin"}, Some: true,
		Sites: []string{"Oslo", "elsewhere"}, Known: []string{"Bergen", "Oslo"},
	}
}

func cannedOperators() Operators {
	return Operators{
		Now: now, Form: cannedForm(),
		Rows: []OperatorRow{
			{ID: "o1", Name: "jon", Role: "operator", Sites: []string{"Oslo"}, Factors: "passkey, app", Sessions: 2, LastSeen: now},
			{ID: "o2", Name: "nora", Role: "admin", Sessions: 1, LastSeen: now, You: true},
			{ID: "o3", Name: "eve", Role: "viewer", Locked: true},
		},
	}
}

func hostileOperators() Operators {
	v := cannedOperators()
	v.Rows = []OperatorRow{{ID: hostileID, Name: hostile, Role: hostile, Sites: []string{hostile}, Factors: hostile}}
	v.Form.Name, v.Error = hostile, Note{Kind: "err", Text: hostile, Hint: hostile}
	v.Made = NewPassword{Name: hostile, Password: "aaaa-bbbb-cccc-dddd-eeee"}
	return v
}

func cannedOperator() Operator {
	return Operator{
		Now: now, ID: "o1", Name: "jon", Role: "operator", Sites: []string{"Oslo"}, HasPassword: true, CreatedAt: now.Add(-time.Hour), LastSeen: now,
		TOTP: true, Passkeys: []string{"laptop", "key ring"}, RecoveryLeft: 7, Form: cannedForm(),
		Sessions: []OperatorSession{{ID: "s1", Method: "passkey", Address: "203.0.113.24", Agent: "Firefox", CreatedAt: now, SeenAt: now, ExpiresAt: now.Add(time.Hour), Verified: now}},
		Tokens:   []OperatorToken{{ID: "t1", Label: "backup", CreatedAt: now, ExpiresAt: now.Add(time.Hour)}, {ID: "t2", CreatedAt: now}},
	}
}

func hostileOperator() Operator {
	v := cannedOperator()
	v.ID, v.Name, v.Role, v.Sites, v.Passkeys = hostileID, hostile, hostile, []string{hostile}, []string{hostile}
	v.Lock, v.Error = hostileLock("operator"), Note{Kind: "err", Text: hostile}
	v.Sessions[0].Address, v.Sessions[0].Agent, v.Sessions[0].Method = hostile, hostile, hostile
	v.Tokens[0].Label = hostile
	v.Form.Sites, v.Form.Known = nil, nil
	return v
}

// cannedPeoplePages are the pages of operators and of who comes in.
func cannedPeoplePages() map[string]templ.Component {
	p := cannedPage()
	p.Pending, p.MayAudit, p.MayAppoint = 3, true, true
	enrolling, staff, about := p, p, p
	enrolling.Section, enrolling.View, staff.Section, staff.View, about.View = "enrolment", "enrolment", "operators", "", "device:"+deviceID
	you, locked := cannedOperator(), cannedOperator()
	you.You, you.Tokens, you.Sessions, locked.Lock = true, nil, nil, cannedLock("operator")
	waiting := cannedEnrolment()
	waiting.Site, waiting.Queue, waiting.Sites = "Oslo", cannedQueue(), cannedSites()
	waiting.Wrong = WrongCodes{Now: now, Count: 23, Sources: 2, Many: true, Last: []Refusal{{At: now, Source: hostile, Reason: hostile}, {At: now, Source: "203.0.113.9", Reason: "code_used"}}}
	crowded := waiting
	crowded.Queue, crowded.Sites, crowded.Wrong.Resting = hostileQueue(), hostileSites(), true

	unsure, aside, closed := cannedDevice(TabSummary), cannedDevice(TabSummary), cannedDevice(TabSummary)
	unsure.State, unsure.Tunnel, unsure.Attached = "pending", Tunnel{}, false
	unsure.Standing = Standing{Words: sixWords, Known: Known{ID: "k", Hostname: hostile, LastSeen: now}}
	aside.State, aside.Tunnel, aside.Attached = "quarantined", Tunnel{}, false
	aside.Standing = Standing{Words: sixWords, Setter: hostile, Reason: hostile, SetAt: now, Locks: []Lock{hostileLock("device"), hostileLock("site")}}
	closed.Standing = Standing{Words: sixWords, Locks: []Lock{cannedLock("device"), cannedLock("site")}}
	return map[string]templ.Component{
		"operators":           OperatorsPage(staff, cannedOperators()),
		"operators hostile":   OperatorsPage(staff, hostileOperators()),
		"operator":            OperatorPage(staff, cannedOperator()),
		"operator you":        OperatorPage(staff, you),
		"operator locked":     OperatorPage(staff, locked),
		"operator hostile":    OperatorPage(staff, hostileOperator()),
		"enrolment waiting":   EnrolmentPage(enrolling, waiting),
		"enrolment crowded":   EnrolmentPage(enrolling, crowded),
		"summary unsure":      DevicePage(about, unsure),
		"summary quarantined": DevicePage(about, aside),
		"summary locked":      DevicePage(about, closed),
	}
}

// cannedPeopleParts are parts of these pages.
func cannedPeopleParts() map[string]templ.Component {
	return map[string]templ.Component{
		"queue":           PendingQueue(hostileQueue()),
		"queue empty":     PendingQueue(Queue{Now: now, Life: 24 * time.Hour}),
		"sites":           SiteList(cannedSites()),
		"operators panel": OperatorsPanel(cannedOperators()),
		"operator panel":  OperatorPanel(cannedOperator()),
	}
}
