// Package nstest runs a test again inside fresh user, network and mount namespaces, and makes
// further hosts with cables between them there.
//
// A test that wants to change the network begins with
//
//	func TestSomething(t *testing.T) {
//		if !nstest.Run(t) {
//			return
//		}
//		…
//
// What follows runs in a process of its own, as a root that has power over nothing but its own
// namespaces: links, routes, firewall rules and files under /run are its own and vanish with it.
// It needs no privilege. Where namespaces are not to be had the test is skipped; with
// BOREALIS_REQUIRE_NAMESPACES=1 in the environment it fails instead.
//
// For a test with several machines, [NewHost] makes a host with its own network and its own /run,
// [Join] lays a cable between two hosts, and [Host.Start] starts a program on one:
//
//	engine, agent := nstest.NewHost(t, "engine"), nstest.NewHost(t, "agent")
//	nstest.Join(t, engine, netip.MustParsePrefix("192.0.2.1/24"), agent, netip.MustParsePrefix("192.0.2.2/24"))
//	p := engine.Start(t, exec.Command(binary, "serve"))
//
// Coverage of what runs inside is kept only with -test.gocoverdir, because the two processes
// cannot write the same profile.
package nstest

import (
	"os"
	"testing"
)

// requireEnv makes a missing namespace or device a failure.
const requireEnv = "BOREALIS_REQUIRE_NAMESPACES"

// Skip ends the test because this machine lacks what it needs: skipped, or failed if the
// environment says that nothing may be lacking.
func Skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv(requireEnv) != "" {
		t.Fatalf("%s is set, but %s", requireEnv, reason)
	}
	t.Skip(reason)
}
