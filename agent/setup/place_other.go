//go:build !windows

package setup

func defaultPlace(string) (Place, error) { return Place{}, errElsewhere }
