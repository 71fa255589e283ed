package views

import (
	"context"
	"io"

	"github.com/a-h/templ"

	"borealis/static"
)

// icon draws one of the vendored icons. It is decoration: words beside it, or
// the label of the control around it, say the same.
func icon(name string) templ.Component {
	return templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, `<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">`+static.Icon(name)+`</svg>`)
		return err
	})
}
