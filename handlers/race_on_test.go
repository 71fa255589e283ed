//go:build race

package handlers

// withRaceDetector tells that everything takes many times the memory and time.
const withRaceDetector = true
