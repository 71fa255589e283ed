package main

import (
	"strings"
	"testing"
)

// TestEnrolWithAnotherEngine needs --replace, and says where the identity before went.
func TestEnrolWithAnotherEngine(t *testing.T) {
	t.Parallel()
	data, _ := enrolled(t)
	before := deviceOf(t, data)
	_, second := engine(t, "active")
	if _, errs := say(t, exitFailed, "enrol", "--data", data, "--code", second.String()); !strings.Contains(errs, "enrol again with --replace") {
		t.Errorf("it says %s", errs)
	}
	if deviceOf(t, data) != before {
		t.Error("the identity changed")
	}
	if _, errs := say(t, exitDone, "enrol", "--replace", "--data", data, "--code", second.String()); !strings.Contains(errs, "note: the identity that this device had before is kept in "+inVPNClient(data)) {
		t.Errorf("it says %s", errs)
	}
	if deviceOf(t, data) == before {
		t.Error("the identity is the same")
	}
}
