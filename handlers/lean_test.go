package handlers

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestLean: what a client sends together with its request, or at once after it, is there when the connection
// is taken over, however much it is.
func TestLean(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, leanBuffer, 3 * leanBuffer} {
		text := strings.Repeat("x", n) + "later"
		got := make(chan string, 1)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, rw, err := lean{w}.Hijack()
			if err != nil {
				got <- err.Error()
				return
			}
			defer conn.Close()
			if size := rw.Writer.Size(); size > leanBuffer {
				got <- "a large buffer"
				return
			}
			there, _ := rw.Peek(rw.Reader.Buffered()) // a WebSocket takes only what is in the buffer from it
			rw.Reader.Reset(io.MultiReader(bytes.NewReader(bytes.Clone(there)), conn))
			b := make([]byte, len(text))
			if _, err := io.ReadFull(rw, b); err != nil {
				got <- err.Error()
				return
			}
			got <- string(b)
			_, _ = rw.WriteString("answer") // Flush tells
			if err := rw.Flush(); err != nil {
				t.Error(err)
			}
		}))
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		early, late := "GET / HTTP/1.1\r\nHost: engine\r\n\r\n"+text[:n], text[n:]
		if _, err := io.WriteString(conn, early); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, late); err != nil {
			t.Fatal(err)
		}
		if b := <-got; b != text {
			t.Errorf("%d bytes early: got %q", n, b)
		}
		if answer, err := io.ReadAll(conn); err != nil || string(answer) != "answer" {
			t.Errorf("the answer is %q, %v", answer, err)
		}
		conn.Close()
		server.Close()
	}
}
