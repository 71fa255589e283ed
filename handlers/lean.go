package handlers

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
)

// leanBuffer is the size of the buffers of an agent's connection in bytes: messages are rare, and
// TLS has buffers of its own.
const leanBuffer = 512

// A lean response is one whose connection has small buffers when it is taken over.
type lean struct{ http.ResponseWriter }

// Hijack implements [http.Hijacker]. What was read already is in the buffer that it returns.
func (w lean) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, have, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, err := have.Peek(have.Reader.Buffered())
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn), max(leanBuffer, len(early)))
	if _, err := r.Peek(len(early)); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, bufio.NewReadWriter(r, bufio.NewWriterSize(conn, leanBuffer)), nil
}
