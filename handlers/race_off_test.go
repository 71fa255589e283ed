//go:build !race

package handlers

const withRaceDetector = false
