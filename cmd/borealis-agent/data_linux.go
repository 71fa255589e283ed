package main

// defaultData is the agent's data root.
func defaultData() string { return "/var/lib/borealis-agent" }
