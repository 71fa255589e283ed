package main

import (
	"strings"
	"testing"

	"borealis/tunnel/keys"
)

func TestMoveCommand(t *testing.T) {
	t.Parallel()
	data, code := enrolled(t)
	_, other := engine(t, "active")
	for address, says := range map[string]string{
		other.Address: "is not the expected engine", "127.0.0.1:1": "nothing answers", "here": "not host:port", "engine:0": "port",
	} {
		if _, errs := say(t, exitFailed, "move", address, "--data", data); !strings.Contains(errs, says) {
			t.Errorf("%s: it says %s, want %q", address, errs, says)
		}
		if kept, err := keys.ReadAddresses(inVPNClient(data)); err != nil || kept.Moved != "" {
			t.Errorf("%s: kept is %+v, %v", address, kept, err)
		}
	}
	if err := keys.SaveAgent(inVPNClient(data), code.Pin, "engine.invalid:8443"); err != nil { // It was there.
		t.Fatal(err)
	}
	if out, _ := say(t, exitDone, "move", code.Address, "--data", data); !strings.Contains(out, "answers at "+code.Address+": "+code.Pin.Words()) {
		t.Errorf("it says %s", out)
	}
	if out, _ := say(t, exitDone, "fingerprint", "--data", data); !strings.Contains(out, "\nat      "+code.Address+"\n") {
		t.Errorf("the fingerprint is\n%s", out)
	}
	_, all := examined(t, data)
	if got := all["dns"]; !got.OK || !strings.Contains(got.Detail, "127.0.0.1") {
		t.Errorf("dns: %+v", got)
	}
	if got := all["engine"]; !got.OK || !strings.Contains(got.Detail, code.Address) {
		t.Errorf("engine: %+v", got)
	}
	for _, args := range [][]string{{"move"}, {"move", "--data", data}, {"move", code.Address, "more"}, {"support"}, {"support", "a", "b"}, {"panic", "now"}} {
		if _, errs := say(t, exitUsage, args...); !strings.Contains(errs, "usage") {
			t.Errorf("%v: %s", args, errs)
		}
	}
}
