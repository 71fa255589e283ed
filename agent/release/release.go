// Package release says which programs belong to a version of the agent, signed by who published it.
package release
