package keys

import (
	"crypto/sha256"
	_ "embed"
	"strings"
)

// wordList is the English word list of BIP-0039, by Pavol Rusnak and others, under the
// MIT licence: https://github.com/bitcoin/bips/blob/master/bip-0039/english.txt
// It has 2048 words, no two of which begin with the same four letters.
//
//go:embed words.txt
var wordList string

const (
	wordBits  = 11 // Of one word out of 2048.
	pinWords  = 6  // 66 bits: enough for two people who compare, too many to search for a twin.
	wordsText = "borealis words v1\x00"
)

// Words returns six words for people to compare aloud or side by side. They stand
// for the whole pin, but are too few to be used in its place.
func (p Pin) Words() string {
	list := strings.Fields(wordList)
	sum := sha256.Sum256(append([]byte(wordsText), p[:]...))
	words := make([]string, pinWords)
	for i := range words {
		n := 0
		for bit := i * wordBits; bit < (i+1)*wordBits; bit++ {
			n = n<<1 | int(sum[bit/8]>>(7-bit%8)&1)
		}
		words[i] = list[n]
	}
	return strings.Join(words, " ")
}
