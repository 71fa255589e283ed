//go:build !windows

package setup

func readEntry(string) (entry, error) { return entry{}, errElsewhere }
func writeEntry(string, entry) error  { return errElsewhere }
func removeEntry(string) error        { return errElsewhere }
