// Command release signs the manifest of a release of the agents, and makes the key for it.
//
//	go run ./.ci/release -dir static/downloads/files -version 1.2.3 -sequence 7 -key FILE
//	go run ./.ci/release -new-key FILE
//	go run ./.ci/release -public FILE
//
// The manifest names every agent in the folder and is written there as "manifest". The
// public half of the key, which the second and third form print, goes into the agents when
// they are built: they take updates of that publisher and of nobody else.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"borealis/agent/release"
)

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "release: %v\n", err)
		os.Exit(1)
	}
}

// run is main without the process around it.
func run(args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("release", flag.ContinueOnError)
	f.SetOutput(stderr)
	dir := f.String("dir", "static/downloads/files", "`DIR` with the agents, and for the manifest")
	version := f.String("version", "", "the `VERSION` of the release")
	sequence := f.Int64("sequence", 0, "the `NUMBER` of the release: higher than that of each before")
	key := f.String("key", "", "`FILE` with the publisher's key")
	newKey := f.String("new-key", "", "make a publisher's key in a `FILE` and print its public half")
	public := f.String("public", "", "print the public half of the key in a `FILE`")
	if err := f.Parse(args); err != nil {
		return err
	}
	switch {
	case *newKey != "":
		return makeKey(*newKey, stdout)
	case *public != "":
		private, err := readKey(*public)
		if err != nil {
			return err
		}
		return printPublic(stdout, private)
	}
	private, err := readKey(*key)
	if err != nil {
		return err
	}
	m := release.Manifest{Version: *version, Sequence: *sequence}
	if m.Released, err = released(); err != nil {
		return err
	}
	if m.Files, err = agents(*dir); err != nil {
		return err
	}
	signed, err := release.Sign(m, private)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(*dir, "manifest"), []byte(signed+"\n"), 0o644); err != nil { //nolint:gosec // It is public.
		return err
	}
	_, err = fmt.Fprintf(stdout, "version %s, release %d, %d agents\n", m.Version, m.Sequence, len(m.Files))
	return err
}

// released is the time that the manifest bears: SOURCE_DATE_EPOCH, so that a release can be
// made again, or else now.
func released() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Now().UTC().Truncate(time.Second), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// agentName is what an agent's file is called.
var agentName = regexp.MustCompile(`^borealis-agent-([a-z0-9]+)-([a-z0-9]+)(\.exe)?$`)

// agents lists the agents in a folder.
func agents(dir string) ([]release.File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []release.File
	for _, e := range entries {
		parts := agentName.FindStringSubmatch(e.Name())
		if parts == nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		found = append(found, release.File{
			OS: parts[1], Arch: parts[2], Name: e.Name(), SHA256: hex.EncodeToString(sum[:]), Size: int64(len(b)),
		})
	}
	return found, nil
}

// makeKey makes a key that nobody else may read. It does not replace one.
func makeKey(path string, stdout io.Writer) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(pem.Encode(file, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), file.Close()); err != nil {
		return err
	}
	return printPublic(stdout, private)
}

// readKey reads what makeKey made.
func readKey(path string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%s: not a private key in PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	private, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: not an Ed25519 key", path)
	}
	return private, nil
}

func printPublic(w io.Writer, private ed25519.PrivateKey) error {
	_, err := fmt.Fprintln(w, base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey)))
	return err
}
