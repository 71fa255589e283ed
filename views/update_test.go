package views

import (
	"testing"
	"time"
)

// TestAgentUpdate has what a page says in each state of an update, and when it offers one.
func TestAgentUpdate(t *testing.T) {
	t.Parallel()
	at := now.Add(-5 * time.Minute)
	for name, c := range map[string]struct {
		note   UpdateNote
		viewer bool
		want   string // the words; "" = the element is not shown
		button bool
	}{
		"nothing":   {want: ""},
		"available": {UpdateNote{Available: "1.3.0"}, false, "Update This engine has version 1.3.0. Update the agent", true},
		"a viewer":  {UpdateNote{Available: "1.3.0"}, true, "Update This engine has version 1.3.0.", false},
		"blocked":   {UpdateNote{Available: "1.3.0", Blocked: "Not now."}, false, "Update This engine has version 1.3.0. Not now.", false},
		"offered": {
			UpdateNote{Available: "1.3.0", Version: "1.3.0", Outcome: "offered", At: at, UnderWay: true},
			false,
			"Update The agent gets version 1.3.0, 5 min ago", false,
		},
		"silent": {
			UpdateNote{Version: "1.3.0", Outcome: "offered", At: at},
			false,
			"Update The agent did not answer the offer of version 1.3.0, 5 min ago", false,
		},
		"started": {
			UpdateNote{Available: "1.3.0", Version: "1.3.0", Outcome: "started", At: at, UnderWay: true},
			false,
			"Update Version 1.3.0 is in place and starts, 5 min ago", false,
		},
		"lost": {
			UpdateNote{Version: "1.3.0", Outcome: "started", At: at},
			false,
			"Update Version 1.3.0 was put in place, but nothing was heard of it, 5 min ago", false,
		},
		"done": {UpdateNote{Version: "1.3.0", Outcome: "done", At: at}, false, "Update Updated to version 1.3.0, 5 min ago", false},
		"refused": {
			UpdateNote{Available: "1.3.0", Version: "1.3.0", Outcome: "refused", Detail: "Not newer.", At: at},
			false,
			"Update The agent refused version 1.3.0, 5 min ago Not newer. This engine has version 1.3.0. Update the agent", true,
		},
		"failed": {
			UpdateNote{Version: "1.3.0", Outcome: "failed", Detail: "The disk is full.", At: at},
			false,
			"Update Version 1.3.0 could not be put in place, 5 min ago The disk is full.", false,
		},
		"rolled back": {
			UpdateNote{Version: "1.3.0", Outcome: "rolled_back", Detail: "It was mute.", At: at},
			false,
			"Update Version 1.3.0 did not work and was taken back, 5 min ago It was mute.", false,
		},
	} {
		v := cannedDevice(TabSummary)
		v.Update, v.CanManage = c.note, !c.viewer
		root := parse(t, AgentUpdate(v))
		found := elements(root, with("data-testid", "agent-update"))
		if c.want == "" {
			if len(found) > 0 {
				t.Errorf("%s: it says %q", name, text(found[0]))
			}
			continue
		}
		if len(found) != 1 || text(found[0]) != c.want {
			t.Errorf("%s: it says %q, want %q", name, text(root), c.want)
		}
		if got := len(elements(root, with("data-testid", "update-button"))) == 1; got != c.button {
			t.Errorf("%s: it has a button: %v", name, got)
		}
	}
}
