package handlers

import (
	htmltext "html"
	"net/http"
	"strings"
	"testing"

	"borealis/handlers/access"
	"borealis/store"
	"borealis/tunnel"
	"borealis/views"
)

// TestEveryEndHasWords: the terminal's page has the words and the remedy of each reason that a
// tunnel may end for, the ones that the doctors have.
func TestEveryEndHasWords(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d, _ := r.device("kiosk-7", store.Active)
	page := htmltext.UnescapeString(r.browser("vic", access.Viewer).do(http.MethodGet, "/devices/"+d.ID+"/summary", "", html...).body)
	for _, reason := range tunnel.Reasons() {
		meaning, remedy, fault := reason.Explain()
		want := `data-reason="` + string(reason) + `" data-hint="` + remedy + `"`
		if fault {
			want += " data-fault"
		}
		if want += ">" + meaning + "</p>"; meaning == "" || !strings.Contains(page, want) {
			t.Errorf("the terminal does not have %q", want)
		}
	}
}

func TestEndingView(t *testing.T) {
	t.Parallel()
	for reason, want := range map[tunnel.Reason]views.Ending{
		tunnel.OperatorLeft:   {Reason: "operator_left", Text: "the last operator left", Kind: "idle"},
		tunnel.OperatorLocked: {Reason: "operator_locked", Text: "the operator who used it was locked", Hint: "An administrator can lift the lock; somebody else can connect.", Kind: "warn"},
		tunnel.InternalError:  {Reason: "internal_error", Text: "the engine had a fault", Hint: "Connect again. If it happens again, the engine's log says more about this tunnel.", Kind: "err"},
		"meteor_strike":       {Reason: "meteor_strike", Text: "meteor strike", Kind: "err"},
		"":                    {Kind: "err"},
	} {
		if got := endingView(reason); got != want {
			t.Errorf("%s: %+v, want %+v", reason, got, want)
		}
	}
}
