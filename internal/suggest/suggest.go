// Package suggest finds the name a person probably meant.
package suggest

import "unicode"

// Nearest returns the name in among that is closest to name by edit distance,
// letter case apart, or "" when none is close: at most a third of the letters,
// and always one, may differ. Two neighbours that changed places count as one. Of equally close names the first in alphabetical
// order wins, so that the answer does not depend on the order of among.
func Nearest(name string, among []string) string {
	want := fold(name)
	limit := max(1, len(want)/3)
	best, bestAt := "", limit+1
	for _, candidate := range among {
		at := distance(want, fold(candidate), limit)
		if at < bestAt || at == bestAt && at <= limit && candidate < best {
			best, bestAt = candidate, at
		}
	}
	return best
}

// fold returns the letters of s in lower case.
func fold(s string) []rune {
	out := []rune(s)
	for i, r := range out {
		out[i] = unicode.ToLower(r)
	}
	return out
}

// distance is the number of letters to insert, delete or replace, and of
// neighbours to exchange, to make b of a, or limit+1 if it takes more than limit.
func distance(a, b []rune, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	earlier, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i, x := range a {
		next[0] = i + 1
		for j, y := range b {
			replace := row[j]
			if x != y {
				replace++
			}
			next[j+1] = min(replace, next[j]+1, row[j+1]+1)
			if i > 0 && j > 0 && x == b[j-1] && y == a[i-1] {
				next[j+1] = min(next[j+1], earlier[j-1]+1)
			}
		}
		earlier, row, next = row, next, earlier
	}
	return min(row[len(b)], limit+1)
}
