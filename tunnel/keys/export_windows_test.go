package keys

// What the tests do with DPAPI themselves.
var (
	ProtectData   = protectData
	UnprotectData = unprotectData
	Taken         = taken
)
