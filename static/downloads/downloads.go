// Package downloads holds the files that an engine hands out: the agents that it carries, and the driver that an administrator gave it.
package downloads

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Limits of a [Set]. An agent has some 15 MB and a manifest a few lines.
const (
	maxAgent    = 64 << 20 // bytes
	maxManifest = 64 << 10 // bytes
)

// manifest is the name of the file with the signed list of the agents.
const manifest = "manifest"

// embedded is whatever the build put into the folder: at least its README.
//
//go:embed files
var embedded embed.FS

// agentName is what an agent's file is called: borealis-agent-OS-ARCH, with .exe for Windows.
var agentName = regexp.MustCompile(`^borealis-agent-([a-z0-9]+)-([a-z0-9]+)(\.exe)?$`)

// File is one file that is handed out.
type File struct {
	Name   string // without a folder
	OS     string // windows, linux, … as Go names it
	Arch   string // amd64, arm64, … as Go names it
	Size   int64  // bytes
	SHA256 string // in hexadecimal, lower case
}

// A Set is the agents that an engine carries, and the signed manifest of them. It never
// changes and is safe for concurrent use.
type Set struct {
	fsys     fs.FS
	manifest string
	files    func() []File // by system and processor
}

// Embedded is the set that this program was built with. It is empty when it was built
// without agents.
var Embedded = sync.OnceValue(func() *Set {
	fsys, err := fs.Sub(embedded, "files")
	if err == nil {
		var s *Set
		if s, err = New(fsys); err == nil {
			return s
		}
	}
	panic(fmt.Sprintf("downloads: reading embedded files: %v", err)) // the build put nonsense into the program
})

// New returns the set of the agents and the manifest in a folder, whose other files are
// left alone. Their hashes are worked out when they are first asked for, so that a start
// does not wait for it: the files must not change.
func New(fsys fs.FS) (*Set, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("list the agents: %w", err)
	}
	s := &Set{fsys: fsys}
	var found []File
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", e.Name(), err)
		}
		f, is := agentFile(e.Name(), info)
		switch {
		case is && (f.Size < 1 || f.Size > maxAgent):
			return nil, fmt.Errorf("%s has %d bytes: an agent has 1 to %d", f.Name, f.Size, maxAgent)
		case is:
			found = append(found, f)
		case e.Name() == manifest && info.Size() > maxManifest:
			return nil, fmt.Errorf("the manifest has %d bytes: %d at most", info.Size(), maxManifest)
		case e.Name() == manifest:
			body, err := fs.ReadFile(fsys, manifest)
			if err != nil {
				return nil, fmt.Errorf("read the manifest: %w", err)
			}
			s.manifest = strings.TrimSpace(string(body))
		}
	}
	slices.SortFunc(found, func(a, b File) int {
		return cmp.Or(cmp.Compare(b.OS, a.OS), cmp.Compare(a.Arch, b.Arch)) // Windows first
	})
	s.files = sync.OnceValue(func() []File { return hashed(fsys, found) })
	return s, nil
}

// agentFile is what a file's name says; false when it is not an agent.
func agentFile(name string, info fs.FileInfo) (File, bool) {
	parts := agentName.FindStringSubmatch(name)
	if parts == nil || !info.Mode().IsRegular() || (parts[3] != "") != (parts[1] == "windows") {
		return File{}, false
	}
	return File{Name: name, OS: parts[1], Arch: parts[2], Size: info.Size()}, true
}

// hashed fills in the hashes. A file that cannot be read any more is left out.
func hashed(fsys fs.FS, found []File) []File {
	known := make([]File, 0, len(found))
	for _, f := range found {
		if err := f.hash(fsys); err == nil {
			known = append(known, f)
		}
	}
	return known
}

func (f *File) hash(fsys fs.FS) error {
	file, err := fsys.Open(f.Name)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, file)
	err = errors.Join(err, file.Close())
	if err == nil && n != f.Size {
		err = io.ErrUnexpectedEOF
	}
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	return err
}

// All are the agents: those for Windows first.
func (s *Set) All() []File { return slices.Clone(s.files()) }

// BySHA256 finds the agent with a hash in lower-case hexadecimal.
func (s *Set) BySHA256(sum string) (File, bool) {
	return s.find(func(f File) bool { return f.SHA256 == sum })
}

// Open opens an agent by its file name. The error is [fs.ErrNotExist] when there is none.
// The caller closes what is returned.
func (s *Set) Open(name string) (io.ReadSeekCloser, File, error) {
	f, ok := s.find(func(f File) bool { return f.Name == name })
	if !ok {
		return nil, File{}, fmt.Errorf("open the agent: %w", fs.ErrNotExist)
	}
	file, err := s.fsys.Open(f.Name)
	if err != nil {
		return nil, File{}, fmt.Errorf("open the agent: %w", err)
	}
	seeker, ok := file.(io.ReadSeekCloser)
	if !ok {
		err := fmt.Errorf("open the agent: its folder's files cannot be read from a place: %w", errors.ErrUnsupported)
		return nil, File{}, errors.Join(err, file.Close())
	}
	return seeker, f, nil
}

// Manifest is the signed list of the agents, or "" when nobody signed one.
func (s *Set) Manifest() string { return s.manifest }

func (s *Set) find(is func(File) bool) (File, bool) {
	all := s.files()
	i := slices.IndexFunc(all, is)
	if i < 0 {
		return File{}, false
	}
	return all[i], true
}
