package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"time"

	"borealis/agent"
	"borealis/agent/checkup"
	"borealis/agent/limits"
)

// Limits of a support bundle.
const (
	logTail  = 1 << 20  // Bytes of each log.
	logSlack = 64 << 10 // Before them, so that what is cut off in its middle is still known for what it is.
	mostLogs = 40       // Files.
)

// logNames are the logs that a support bundle has. What else lies in their folder is nobody's.
var logNames = regexp.MustCompile(`^(?:reverse_tunnel|install|update)\.log(?:\.[0-9]{1,3})?$`)

const supportText = `This is a support bundle of a Borealis agent. It has what its "doctor" found, its status, its
local policy, the last lines of its logs, and what the device is made of. It has no keys, codes
or tokens: only these files are taken, and what looks like a secret in them is replaced by
"[removed]". Look through it before you give it away: names of people and machines are in it.
`

// support writes a zip of what helps to find a fault, without secrets.
func support(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flags("support", stderr)
	data := f.String("data", installedData(), "`DIR` of the agent's data root")
	var path string
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' { // It stands first: flags end at a word.
		path, args = args[0], args[1:]
	}
	if err := parse(f, args); err != nil {
		return err
	}
	if path == "" {
		return fmt.Errorf("%w: support FILE [--data DIR]", errUsage)
	}
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("write the support bundle: %w: nothing is overwritten, name another file", err)
	}
	if err != nil {
		return fmt.Errorf("write the support bundle: %w", err)
	}
	b := &bundle{zip: zip.NewWriter(out), at: time.Now()}
	b.fill(ctx, *data)
	if err := errors.Join(b.err, b.zip.Close(), out.Close()); err != nil {
		return errors.Join(fmt.Errorf("write the support bundle: %w", err), os.Remove(path))
	}
	_, err = fmt.Fprintf(stdout, "%s has what helps to find a fault, and no secrets. Look through it before you give it away.\n", path)
	return err
}

// bundle is a zip that is being written.
type bundle struct {
	zip *zip.Writer
	at  time.Time
	err error // The first one; after it nothing more is written.
}

// fill writes everything. What cannot be read is named in the file that says what this is.
func (b *bundle) fill(ctx context.Context, data string) {
	var missing bytes.Buffer
	miss := func(what string, err error) { fmt.Fprintf(&missing, "Not in it: %s: %v\n", what, err) }
	found := examine(ctx, data)
	var text bytes.Buffer
	_ = checkup.Write(&text, found.Checks) // A buffer takes everything.
	b.add("doctor.txt", text.Bytes())
	b.addJSON("doctor.json", found)

	local := limits.Load(agent.PolicyFile(data))
	now := standing{Policy: local.Sentences()}
	_, now.Panic = local.Stopped()
	var err error
	if now.Status, now.Running, err = agent.ReadStatus(data); err == nil {
		b.addJSON("status.json", now)
	} else {
		miss("the status", err)
	}
	b.addJSON("device.json", facts(ctx, data))
	if policy, err := tail(agent.PolicyFile(data)); err == nil {
		b.add("policy.json", policy)
	} else if !errors.Is(err, fs.ErrNotExist) {
		miss("the local policy", err)
	}
	names, err := logs(data)
	if err != nil {
		miss("the logs", err)
	}
	for _, name := range names {
		if log, err := tail(filepath.Join(logFolder(data), name)); err == nil {
			b.add("logs/"+name, log)
		} else {
			miss(name, err)
		}
	}
	b.add("README.txt", append([]byte(supportText), missing.Bytes()...))
}

// facts are what this program and the device are.
func facts(ctx context.Context, data string) any {
	where, _ := agent.Whereabouts(data) // Why not, the doctor says.
	return struct {
		Version string   `json:"version"`
		Go      string   `json:"go"`
		OS      string   `json:"os"`
		Arch    string   `json:"arch"`
		Data    string   `json:"data"`
		Engine  []string `json:"engine"` // Where it is looked for.
		Device  any      `json:"device"`
	}{version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, data, where, agent.Describe(ctx)}
}

// logs names the logs there are.
func logs(data string) ([]string, error) {
	entries, err := os.ReadDir(logFolder(data))
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && logNames.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names[:min(len(names), mostLogs)], err
}

// tail reads the last bytes of a file, from the beginning of a line, without secrets.
func tail(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	skip := max(0, info.Size()-logTail-logSlack)
	if _, err := f.Seek(skip, io.SeekStart); err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, logTail+logSlack))
	if err != nil {
		return nil, err
	}
	b = checkup.Scrub(b)
	if len(b) > logTail {
		b = b[len(b)-logTail:]
		skip++
	}
	if skip == 0 {
		return b, nil
	}
	_, whole, _ := bytes.Cut(b, []byte("\n"))
	return slices.Concat([]byte("[what was before is left out]\n"), whole), nil
}

// addJSON adds something as JSON.
func (b *bundle) addJSON(name string, v any) {
	content, err := json.MarshalIndent(v, "", "\t")
	if err != nil && b.err == nil {
		b.err = err
	}
	b.add(name, append(content, '\n'))
}

// add adds a file, without secrets.
func (b *bundle) add(name string, content []byte) {
	if b.err != nil {
		return
	}
	w, err := b.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: b.at})
	if err == nil {
		_, err = w.Write(checkup.Scrub(content))
	}
	b.err = err
}
