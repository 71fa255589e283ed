package netfilter

import (
	"context"
	"fmt"
	"os"
)

// Backend names the programs by which the rules of this host would be read and changed. It needs
// no right to change them, and changes nothing. Its errors are those of [Open].
func Backend(ctx context.Context) (string, error) {
	all, err := families(ctx, os.Getenv("PATH"))
	if err != nil {
		return "", err
	}
	version, err := versionOf(ctx, find(os.Getenv("PATH"), "iptables-nft"))
	if err != nil {
		version = "iptables with nf_tables" // under its other name
	}
	return fmt.Sprintf("%s, for %d address families", version, len(all)), nil
}
