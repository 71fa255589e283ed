package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"borealis/store"
)

// checkpointFormat begins every message that is signed, so that no signature can be
// taken for one of something else.
const checkpointFormat = "borealis-checkpoint-v1\x00"

// A checkpointLine is a checkpoint as JSON.
type checkpointLine struct {
	Seq       int64     `json:"seq"`
	Hash      digest    `json:"hash"`
	At        time.Time `json:"at"`
	Key       []byte    `json:"key"`
	Vouch     []byte    `json:"vouch"`
	Signature []byte    `json:"signature"`
}

// message is what a checkpoint's signature is over:
//
//	"borealis-checkpoint-v1\x00"
//	Seq   8 bytes, big-endian
//	Hash  32 bytes
//	At    8 bytes, big-endian: nanoseconds since 1970-01-01 UTC, two's complement
func message(c store.Checkpoint) []byte {
	b := make([]byte, 0, len(checkpointFormat)+8+len(c.Hash)+8)
	b = append(b, checkpointFormat...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.Seq)) // #nosec G115 -- the same 64 bits
	b = append(b, c.Hash[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(c.At.UnixNano())) // #nosec G115 -- the same 64 bits
}

// sign signs a record's hash, and with it all records up to that one.
func sign(key ed25519.PrivateKey, vouch []byte, seq int64, hash [32]byte, at time.Time) store.Checkpoint {
	c := store.Checkpoint{Seq: seq, Hash: hash, At: at.UTC(), Vouch: vouch}
	c.Key, _ = key.Public().(ed25519.PublicKey)
	c.Signature = ed25519.Sign(key, message(c))
	return c
}

// signed reports whether a checkpoint's signature is of its key.
func signed(c store.Checkpoint) bool {
	return len(c.Key) == ed25519.PublicKeySize && ed25519.Verify(c.Key, message(c), c.Signature)
}

// encodeCheckpoint is a checkpoint as one line of JSON, without the line's end.
func encodeCheckpoint(c store.Checkpoint) ([]byte, error) {
	return json.Marshal(checkpointLine{
		Seq: c.Seq, Hash: digest(c.Hash), At: c.At.UTC(), Key: c.Key, Vouch: c.Vouch, Signature: c.Signature,
	})
}

// decodeCheckpoint reads what encodeCheckpoint wrote, and nothing else.
func decodeCheckpoint(line []byte) (store.Checkpoint, error) {
	var l checkpointLine
	if err := decode(line, &l); err != nil {
		return store.Checkpoint{}, err
	}
	return store.Checkpoint{Seq: l.Seq, Hash: l.Hash, At: l.At, Key: l.Key, Vouch: l.Vouch, Signature: l.Signature}, nil
}

// ReadCheckpoints reads a checkpoint file. Its last line may be incomplete, as a power
// cut leaves it: that one is not returned. Any other line that cannot be read was
// changed; the checkpoints before it are returned with the error.
func ReadCheckpoints(r io.Reader) ([]store.Checkpoint, error) {
	var all []store.Checkpoint
	from := newLines(r)
	for {
		line, err := from.next()
		if errors.Is(err, io.EOF) || errors.Is(err, errCut) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		c, err := decodeCheckpoint(line)
		if err != nil {
			return all, fmt.Errorf("line %d is not a checkpoint: %w", from.number, err)
		}
		all = append(all, c)
	}
}

// readCheckpointFile reads the checkpoint file at path.
func readCheckpointFile(path string) ([]store.Checkpoint, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadCheckpoints(f)
}

// appendCheckpoint puts a checkpoint at the end of a file that only its owner reads,
// and returns when it is on the disk. What a power cut left of a line is overwritten.
func appendCheckpoint(path string, c store.Checkpoint) error {
	line, err := encodeCheckpoint(c)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	end, err := lastLineEnd(f)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.WriteAt(append(line, '\n'), end)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// lastLineEnd is where the last complete line of a file ends.
func lastLineEnd(f *os.File) (int64, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	tail := make([]byte, min(size, longestLine))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	i := bytes.LastIndexByte(tail, '\n')
	if i < 0 && size > longestLine {
		return 0, errors.New("it is not a checkpoint file")
	}
	return size - int64(len(tail)) + int64(i) + 1, nil
}
