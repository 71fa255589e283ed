package shell

import (
	"strings"
	"testing"
)

func TestMayset(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, value string
		want        bool
	}{
		{"TERM", "xterm-256color", true},
		{"LANG", "de_CH.UTF-8@euro", true},
		{"BOREALIS_OPERATOR", "Ada Lovelace; rm -rf /", true},
		{"BOREALIS_EMPTY", "", true},
		{"TERM", "../../etc/passwd", false},
		{"LANG", "", false},
		{"LC_ALL", "C", false},
		{"PATH", "/tmp", false},
		{"borealis_x", "y", false},
		{"BOREALIS_", "y", false},
		{"BOREALIS_A=B", "y", false},
		{"BOREALIS_A\x00PATH=", "y", false},
		{"BOREALIS_A", "a\x00b", false},
		{"BOREALIS_A", strings.Repeat("x", maxVariable), false},
		{"", "", false},
	} {
		if got := mayset(test.name, test.value); got != test.want {
			t.Errorf("mayset(%q, %.40q) = %v, want %v", test.name, test.value, got, test.want)
		}
	}
}

func TestSizeOf(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cols, rows uint32
		want       size
	}{
		{100, 30, size{100, 30}},
		{1, 1, size{1, 1}},
		{0, 30, size{80, 24}},
		{100, 0, size{80, 24}},
		{1 << 31, 1001, size{maxCells, maxCells}},
		{65536 + 80, 24, size{maxCells, 24}},
	} {
		if got := sizeOf(test.cols, test.rows); got != test.want {
			t.Errorf("sizeOf(%d, %d) = %v, want %v", test.cols, test.rows, got, test.want)
		}
	}
}
