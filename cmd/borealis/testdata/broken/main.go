// Command broken is a release of the agent that ends at once.
package main

import "os"

func main() { os.Exit(1) }
