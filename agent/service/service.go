// Package service runs a program as a service of Windows.
package service
