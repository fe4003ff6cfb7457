package bulk

import "golang.org/x/mod/sumdb/tlog"

// Tree computes the Merkle root of many leaves, as transparency logs do
// (RFC 6962), and holds one hash for each bit of their number.
type Tree struct {
	size  int64
	peaks []tlog.Hash // roots of perfect subtrees, the largest first
}

// Add appends the hash of a leaf.
func (t *Tree) Add(leaf tlog.Hash) {
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.peaks) - 1
		leaf = tlog.NodeHash(t.peaks[last], leaf)
		t.peaks = t.peaks[:last]
	}
	t.peaks = append(t.peaks, leaf)
	t.size++
}

// Size returns the number of leaves.
func (t *Tree) Size() int64 { return t.size }

// Root returns the root, the zero hash without leaves.
func (t *Tree) Root() tlog.Hash {
	if len(t.peaks) == 0 {
		return tlog.Hash{}
	}
	root := t.peaks[len(t.peaks)-1]
	for i := len(t.peaks) - 2; i >= 0; i-- {
		root = tlog.NodeHash(t.peaks[i], root)
	}
	return root
}
