// Package update replaces the agent's program by a newer one, and takes that back when it does not work.
package update
