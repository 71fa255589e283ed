package main

import (
	"crypto/sha256"
	"fmt"
	"time"
)

// A document is the part of CycloneDX 1.6 that is used here.
type document struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Serial       string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Time      string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type       string          `json:"type"`
	Ref        string          `json:"bom-ref"`
	Name       string          `json:"name"`
	Version    string          `json:"version,omitempty"`
	Hashes     []hash          `json:"hashes,omitempty"`
	Licences   []licenceChoice `json:"licenses,omitempty"`
	Purl       string          `json:"purl,omitempty"`
	Properties []property      `json:"properties,omitempty"`
	Components []component     `json:"components,omitempty"`

	text string // its licence, word for word
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type licenceChoice struct {
	Licence licence `json:"license"`
}

type licence struct {
	ID string `json:"id"` // by SPDX
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// newDocument joins a program and its parts.
func newDocument(main component, parts []component, at time.Time) *document {
	all := dependency{Ref: main.Ref}
	for _, p := range parts {
		all.DependsOn = append(all.DependsOn, p.Ref)
	}
	return &document{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", Spec: "1.6", Version: 1,
		Serial:   serial(main),
		Metadata: metadata{Time: at.Format(time.RFC3339), Component: main}, Components: parts,
		Dependencies: []dependency{all},
	}
}

// serial is a UUID (RFC 9562, version 8) made of the program's hash.
func serial(main component) string {
	u := sha256.Sum256([]byte(main.Ref + main.Hashes[0].Content))
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// licensed names a licence; nothing when it is not known.
func licensed(id string) []licenceChoice {
	if id == "" {
		return nil
	}
	return []licenceChoice{{licence{id}}}
}
