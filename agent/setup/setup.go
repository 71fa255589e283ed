// Package setup puts the agent on a device, and takes it away again without a trace.
package setup
