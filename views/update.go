package views

import "time"

// UpdateNote is what a device's page says about the version of its agent.
type UpdateNote struct {
	Available string    // the version that the engine can offer the device; "" = none
	Blocked   string    // why it cannot be offered now, one sentence; "" = it can
	Version   string    // that was offered last, since the engine started; "" = none was
	Outcome   string    // what became of that: offered, started, done, refused, failed or rolled_back
	Detail    string    // what the agent said about it
	At        time.Time // of Outcome
	UnderWay  bool      // the agent is at it
}

// words say what became of the last update, and pick their colour; "" when there is
// nothing to say.
func (u UpdateNote) words() (text, kind string) {
	version := plain(u.Version)
	switch u.Outcome {
	case "offered":
		if u.UnderWay {
			return "The agent gets version " + version, "warn"
		}
		return "The agent did not answer the offer of version " + version, "err"
	case "started":
		if u.UnderWay {
			return "Version " + version + " is in place and starts", "warn"
		}
		return "Version " + version + " was put in place, but nothing was heard of it", "err"
	case "done":
		return "Updated to version " + version, "ok"
	case "refused":
		return "The agent refused version " + version, "warn"
	case "failed":
		return "Version " + version + " could not be put in place", "err"
	case "rolled_back":
		return "Version " + version + " did not work and was taken back", "err"
	}
	return "", ""
}

// offers reports whether there is something to offer.
func (u UpdateNote) offers() bool { return u.Available != "" && !u.UnderWay }

func (v Device) updateQuestion() string {
	return "The agent gets version " + plain(v.Update.Available) + ", checks who signed it, and starts again. When the new version " +
		"does not call in within two minutes, the device goes back to " + plain(v.AgentVersion) + " by itself."
}
