// Package downloads holds the agents that an engine hands out.
package downloads
