// Package driver finds the WireGuardNT driver of an administrator and tells whether it is genuine.
package driver
