package isolation

import (
	"errors"
	"hash/fnv"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// transform renames subjects as servers do, their errors included.
type transform struct {
	src  tokens
	dest tokens
	ops  []op // one for each token of dest
}

// op makes one token of a result, sometimes several.
type op struct {
	kind string // "" copies the token of dest
	from []int  // positions in the source
	n    int
	sep  string
}

// Kinds of ops.
const (
	opWildcard  = "wildcard"
	opPartition = "partition"
	opRandom    = "random"
	opSplit     = "split"
)

var function = regexp.MustCompile(`{{\s*([wW]ildcard|[pP]artition|[sS]plit[fF]rom[lL]eft|[sS]plit[fF]rom[rR]ight|` +
	`[sS]lice[fF]rom[lL]eft|[sS]lice[fF]rom[rR]ight|[sS]plit|[lL]eft|[rR]ight|[rR]andom)\s*\((.*)\)\s*}}`)

var comma = regexp.MustCompile(`,\s*`)

var errTransform = errors.New("servers refuse this transform")

// newTransform reads a transform. A strict one is reversible in form: it uses
// all wildcards of src and nothing but wildcards.
func newTransform(src, dest string, strict bool) (*transform, error) {
	s, d := split(src), split(dest)
	if !validForm(s) || !validForm(d) || count(d, anyToken) > 0 || endsOpen(s) != endsOpen(d) {
		return nil, errTransform
	}
	at := []int{0} // position of the n-th wildcard; servers read $0 as the first token
	for i, tok := range s {
		if tok == anyToken {
			at = append(at, i)
		}
	}
	t := &transform{src: s, dest: d}
	used := 0
	for _, tok := range d {
		o, err := parseOp(tok)
		if err != nil || strict && o.kind != "" && o.kind != opWildcard && s.wild() {
			return nil, errTransform
		}
		if !s.wild() && (o.kind != "" && o.kind != opPartition && o.kind != opRandom) {
			return nil, errTransform
		}
		if !s.wild() {
			o.from = nil
		}
		for i, n := range o.from {
			if n >= len(at) {
				return nil, errTransform
			}
			o.from[i] = at[max(n, 0)]
		}
		used += len(o.from)
		t.ops = append(t.ops, o)
	}
	if strict && used < len(at)-1 {
		return nil, errTransform
	}
	return t, nil
}

// validForm is what transforms ask of a subject: no empty token, > at the end.
func validForm(t tokens) bool {
	for i, tok := range t {
		if tok == "" || tok == anyTail && i != len(t)-1 {
			return false
		}
	}
	return true
}

func count(t tokens, what string) int {
	n := 0
	for _, tok := range t {
		if tok == what {
			n++
		}
	}
	return n
}

func endsOpen(t tokens) bool { return t[len(t)-1] == anyTail }

// parseOp reads one token of a destination.
func parseOp(tok string) (op, error) {
	if len(tok) > 1 && tok[0] == '$' {
		n, err := strconv.Atoi(tok[1:])
		if err != nil {
			return op{}, nil // many literal tokens begin with $
		}
		return op{kind: opWildcard, from: []int{n}}, nil
	}
	if !isFunction(tok) {
		return op{}, nil
	}
	m := function.FindStringSubmatch(tok)
	if m == nil {
		return op{}, errTransform
	}
	return parseFunction(strings.ToLower(m[1]), comma.Split(m[2], -1))
}

func isFunction(tok string) bool {
	return len(tok) > 4 && strings.HasPrefix(tok, "{{") && strings.HasSuffix(tok, "}}")
}

func parseFunction(name string, args []string) (op, error) {
	o := op{kind: name}
	nums := args
	switch name {
	case opSplit:
		if len(args) != 2 || strings.ContainsAny(args[1], " .") {
			return o, errTransform
		}
		o.sep, nums = args[1], args[:1]
	case opPartition:
	case opWildcard, opRandom:
		if len(args) != 1 {
			return o, errTransform
		}
	default:
		if len(args) != 2 {
			return o, errTransform
		}
	}
	var values []int
	for _, a := range nums {
		n, err := strconv.Atoi(strings.Trim(a, " "))
		if err != nil {
			return o, errTransform
		}
		values = append(values, n)
	}
	switch name {
	case opWildcard, opSplit:
		o.from = values
	case opPartition, opRandom:
		o.n, o.from = values[0], values[1:]
	default:
		o.from, o.n = values[:1], values[1]
	}
	if o.n > math.MaxInt32 || o.n < math.MinInt32 {
		return o, errTransform
	}
	return o, nil
}

// apply renames one subject, whether it matches the source or not: servers do
// not look either. Imports need no random numbers and give nil.
func (t *transform) apply(subject tokens, random func(n int) int) tokens {
	var b strings.Builder
	for i, o := range t.ops {
		if o.kind == "" && t.dest[i] == anyTail {
			break
		}
		if o.kind == opRandom {
			b.WriteString(strconv.Itoa(random(o.n)))
		} else {
			b.WriteString(o.token(t.dest[i], subject))
		}
		if i < len(t.ops)-1 {
			b.WriteByte('.')
		}
	}
	if endsOpen(t.dest) && len(subject) >= len(t.src) {
		b.WriteString(subject[len(t.src)-1:].String())
	}
	return split(b.String())
}

// token makes the part of a result that stands where lit does in the
// destination.
func (o op) token(lit string, subject tokens) string {
	arg := ""
	if len(o.from) > 0 && o.from[0] < len(subject) {
		arg = subject[o.from[0]]
	}
	switch o.kind {
	case "":
		return lit
	case opWildcard:
		return arg
	case opPartition:
		return partition(o, subject)
	case opSplit:
		return splitBy(arg, o.sep)
	}
	if o.n <= 0 || o.n >= len(arg) {
		return arg
	}
	switch cut := len(arg) - o.n; o.kind {
	case "left":
		return arg[:o.n]
	case "right":
		return arg[cut:]
	case "splitfromleft":
		return arg[:o.n] + "." + arg[o.n:]
	case "splitfromright":
		return arg[:cut] + "." + arg[cut:]
	case "slicefromleft":
		return strings.Join(chunks(arg, o.n), ".")
	}
	head := len(arg) % o.n // slicefromright
	parts := chunks(arg[head:], o.n)
	if head > 0 {
		parts = append([]string{arg[:head]}, parts...)
	}
	return strings.Join(parts, ".")
}

func chunks(s string, n int) []string {
	var out []string
	for len(s) > n {
		out, s = append(out, s[:n]), s[n:]
	}
	return append(out, s)
}

func partition(o op, subject tokens) string {
	if o.n == 0 {
		return "0"
	}
	key := subject.String()
	if len(o.from) > 0 {
		key = ""
		for _, i := range o.from {
			key += subject[i]
		}
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return strconv.Itoa(int(h.Sum32() % uint32(o.n)))
}

// splitBy puts dots where sep was, but for those at the edges and beside each
// other, as far as servers see them.
func splitBy(s, sep string) string {
	parts := strings.Split(s, sep)
	var b strings.Builder
	for i, p := range parts {
		b.WriteString(p)
		if i < len(parts)-1 && parts[i+1] != "" && (i > 0 || p != "") {
			b.WriteByte('.')
		}
	}
	return b.String()
}

// reverse is what servers take for the reverse of a rename. It is right only
// for permutations that are their own inverse. nil: there is none.
func (t *transform) reverse() *transform {
	src, refs := untokenize(t.dest.String())
	var dest tokens
	for _, tok := range t.src {
		if tok == anyToken {
			if len(refs) == 0 {
				return nil
			}
			tok, refs = refs[0], refs[1:]
		}
		dest = append(dest, tok)
	}
	r, err := newTransform(src, dest.String(), true)
	if err != nil {
		return nil
	}
	return r
}

// untokenize turns the references of a destination into wildcards and returns
// both.
func untokenize(dest string) (string, []string) {
	toks := split(dest)
	var refs []string
	for i, tok := range toks {
		if isReference(tok) {
			refs = append(refs, tok)
			toks[i] = anyToken
		}
	}
	return toks.String(), refs
}

func isReference(tok string) bool {
	if len(tok) > 1 && tok[0] == '$' && tok[1] >= '1' && tok[1] <= '9' {
		return true
	}
	m := function.FindStringSubmatch(tok)
	return m != nil && strings.EqualFold(m[1], opWildcard) && m[2] != "" && !comma.MatchString(m[2])
}

// tokenize numbers the wildcards of a pattern.
func tokenize(pattern string) string {
	toks := split(pattern)
	n := 0
	for i, tok := range toks {
		if tok == anyToken {
			n++
			toks[i] = "$" + strconv.Itoa(n)
		}
	}
	return toks.String()
}
