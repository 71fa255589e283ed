package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"borealis/agent/wire"
)

// fetchTimeout is for one file, on a line that carries at least half a megabit a second.
const fetchTimeout = 15 * time.Minute

// fetch gets a file that the engine keeps for its agents, over a connection of its own, and
// writes it to w. When the error is nil, w has got the very file; else it got a part, or
// what must not be used.
func (a *Agent) fetch(ctx context.Context, f wire.File, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	found, err := a.reach(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = found.conn.Close() }()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+wire.ServerName+wire.PathFile+f.SHA256, nil)
	if err != nil {
		return fmt.Errorf("fetch a file from the engine: %w", err)
	}
	response, err := oneConnection(found.conn).Do(request)
	if err != nil {
		return fmt.Errorf("fetch a file from the engine: %w", understood(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch a file from the engine: %w", refusal(response))
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(response.Body, f.Size+1))
	if err != nil {
		return fmt.Errorf("fetch a file from the engine: %w", err)
	}
	if n != f.Size || hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		return errors.New("fetch a file from the engine: it is not the one that was asked for: it was changed or cut off on its way")
	}
	return nil
}
