package wg

// PortHolder says who has a UDP port of this host, in words that fit behind "used by": a program
// with its process id; where it cannot be seen, the WireGuard interface or the user; else "another
// program".
func PortHolder(port int) string { return portHolder(port) }

// anotherProgram is what can be said of a holder that nothing is known of.
const anotherProgram = "another program"
