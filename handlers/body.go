package handlers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxBody     = 64 << 10 // bytes of a request's body
	bodyTimeout = 10 * time.Second
)

// withBody reads the body of a request before its handler runs, within the limits of
// size and time that all routes share, so that no handler waits for a client.
func (s *Server) withBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		next.ServeHTTP(w, r)
	})
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil, nil
	}
	control := http.NewResponseController(w)
	if err := control.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return nil, fmt.Errorf("bound the body's time: %w", err)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, refuse(codeTooLarge, "The request's body is larger than %d bytes.", maxBody)
	}
	if err != nil {
		return nil, refuse(codeMalformed, "The request's body did not arrive.")
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("lift the body's time: %w", err)
	}
	return body, nil
}

// decode reads a JSON body into v, which points to a struct. It takes one object, of
// the right type, without fields that v does not have and without a field twice.
func decode(r *http.Request, v any) error {
	if !isOfType(r, "application/json") {
		return refuse(codeMediaType, "The request's body is not declared to be JSON.")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	return decodeBody(body, v)
}

// isOfType reports whether a body is declared to be of a media type, in UTF-8.
func isOfType(r *http.Request, want string) bool {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset, given := params["charset"]
	return err == nil && kind == want && (!given || strings.EqualFold(charset, "utf-8"))
}

func decodeBody(body []byte, v any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return refuse(codeMalformed, "The request has no body.")
	}
	if err := checkFields(body); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return decodeFailure(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return refuse(codeMalformed, "Something follows the JSON object.")
	}
	return nil
}

// checkFields refuses what the decoder lets pass: null in place of an object, and
// names that come twice, of which it would silently take the last.
func checkFields(body []byte) error {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil {
		return decodeFailure(err)
	} else if t != json.Delim('{') {
		return refuse(codeMalformed, "The request's body is not a JSON object.")
	}
	return checkValue(d, json.Delim('{'), 1)
}

const maxDepth = 16 // of objects and lists within each other

// checkValue reads a value whose first token was t, to its end.
func checkValue(d *json.Decoder, t json.Token, depth int) error {
	if t != json.Delim('{') && t != json.Delim('[') {
		return nil
	}
	if depth > maxDepth {
		return refuse(codeMalformed, "The JSON is nested too deep.")
	}
	seen := make(map[string]bool)
	for d.More() {
		next, err := d.Token()
		if err != nil {
			return decodeFailure(err)
		}
		if t == json.Delim('{') {
			name := strings.ToLower(fmt.Sprint(next)) // the decoder does not care about case
			if seen[name] {
				return refuse(codeMalformed, "The field %q is there twice.", clean(fmt.Sprint(next), 64))
			}
			seen[name] = true
			if next, err = d.Token(); err != nil {
				return decodeFailure(err)
			}
		}
		if err := checkValue(d, next, depth+1); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil { // the closing bracket
		return decodeFailure(err)
	}
	return nil
}

// decodeFailure says what is wrong with a JSON text.
func decodeFailure(err error) error {
	if at, ok := errors.AsType[*json.SyntaxError](err); ok {
		return refuse(codeMalformed, "The JSON breaks at byte %d.", at.Offset)
	}
	if at, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return invalid(at.Field, "The field %q cannot be a %s.", at.Field, at.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		f := refuse(codeUnknownField, "There is no field %s.", clean(name, 64))
		f.field = clean(strings.Trim(name, `"`), 64)
		return f
	}
	return refuse(codeMalformed, "The JSON is not complete.")
}

// form reads the fields of an HTML form. Its text is UTF-8, and has no NUL.
func form(r *http.Request) (url.Values, error) {
	if r.Header.Get("Content-Type") == "" {
		if r.ContentLength != 0 {
			return nil, refuse(codeMediaType, "The request's body is not declared to be a form.")
		}
		return url.Values{}, nil // a button without fields
	}
	if !isOfType(r, "application/x-www-form-urlencoded") {
		return nil, refuse(codeMediaType, "The request's body is not declared to be a form.")
	}
	if err := r.ParseForm(); err != nil || r.PostForm == nil {
		return nil, refuse(codeInvalid, "The form cannot be read.")
	}
	for name, values := range r.PostForm {
		for _, text := range append(values, name) {
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				return nil, refuse(codeInvalid, "The form holds what is not text.")
			}
		}
	}
	return r.PostForm, nil
}
