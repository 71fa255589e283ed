// Package inventory tells what a device is made of.
package inventory
