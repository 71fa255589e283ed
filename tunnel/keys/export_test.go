package keys

// OpenEngineAt is OpenEngine by another clock.
var OpenEngineAt = openEngine
