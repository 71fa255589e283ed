// Package views draws the console: values in, HTML out.
//
// A view looks nothing up: what it shows, the time included, stands in the
// value it is given. A page and the fragment that replaces a part of it are the
// same component. Pages run under a content security policy without inline
// script or style, so no component writes either.
package views

//go:generate go tool templ generate -path .
