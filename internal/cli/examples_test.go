package cli_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/accountd/accountd/claims"
	"github.com/accountd/accountd/internal/cli"
	"github.com/accountd/accountd/keys"
)

// TestExamples runs every example of every help text, and the first one of every
// command with --json, too. testdata/examples.txt
// says what they find:
//
//	nsc add user             the examples of this command
//	  in order               run one after the other, not each in a fresh world
//	  served                 the same, with accountd beside
//	  before LINE            a command line first, which must succeed
//	  into FILE LINE         the same, with what it prints in a file
//	  write FILE TEXT        a file, \n for the end of a line
//	  seed FILE              a file with a new operator seed
//	  copy FOLDER NAME       NAME of the person's home as a folder beside
//	  gone NAME              NAME of the person's home is removed
//	  stdin FILE             stdin of what follows
//	  N LINE                 this example exits with N; the reason is the comment above it
//	  skip LINE              this example is not run; the reason is the comment above it
//
// A section may be of one example alone. The section "world" is before all others
// that are not served. A public key in an example stands for that of the current
// operator, of account app or of its user device1, ~ for the home folder, and what
// follows --nats for a server's address.
func TestExamples(t *testing.T) {
	t.Parallel()
	stages, names := readStages(t)
	base := alone(t)
	base.cwd = t.TempDir()
	base.ok("env", "--store", filepath.Join(base.dir, "stores"))
	base.act(stages["world"].acts)
	examples := cli.HelpExamples()
	checkStages(t, stages, examples)
	before := base.files()
	t.Cleanup(func() { base.sameFiles(before) })
	for command, lines := range examples {
		s := stages[command]
		switch {
		case s != nil && s.served: // below
		case s != nil && s.inOrder:
			t.Run(command, func(t *testing.T) {
				t.Parallel()
				base.apart(t).examples(s, lines...)
			})
		default:
			for i, line := range lines {
				t.Run(command+"/"+line, func(t *testing.T) {
					t.Parallel()
					own := cmp.Or(stages[line], s, &stage{})
					if i == 0 && own.exits[line] == 0 {
						q := base.forExample(t, own, line)
						q.act(own.acts)
						q.run(append(q.words(line), "--json")...).checkJSON(line)
					}
					base.forExample(t, own, line).examples(own, line)
				})
			}
		}
	}
	t.Run("served", func(t *testing.T) {
		t.Parallel()
		p := own(t).person(t)
		p.cwd = t.TempDir()
		for _, name := range names {
			if stages[name].served {
				p.examples(stages[name], examples[name]...)
				if first := examples[name][0]; stages[name].exits[first] == 0 {
					if r := p.run(append(p.words(first), "--json")...); r.code != 5 { // what cannot be done twice
						r.checkJSON(first)
					}
				}
			}
		}
	})
}

// checkStages requires that what stages speak of exists.
func checkStages(t *testing.T, stages map[string]*stage, examples map[string][]string) {
	t.Helper()
	known := map[string]bool{"world": true}
	for command, lines := range examples {
		known[command] = true
		for _, line := range lines {
			known[line] = true
		}
	}
	for name, s := range stages {
		if !known[name] {
			t.Errorf("no command or example is called %q", name)
		}
		for line := range s.exits {
			if !slices.Contains(examples[name], line) {
				t.Errorf("%s has no example %q", name, line)
			}
		}
	}
}

// stage is what the examples of one command find.
type stage struct {
	inOrder, served bool
	acts            [][2]string    // verb and the rest of the line
	exits           map[string]int // -1: not run
}

var exitLine = regexp.MustCompile(`^(\d+|skip) (nsc .*)$`)

// readStages returns the sections and their names in order.
func readStages(t *testing.T) (map[string]*stage, []string) {
	t.Helper()
	data, err := os.ReadFile("testdata/examples.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*stage{}
	var names []string
	var s *stage
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		indented := line != "" && unicode.IsSpace(rune(line[0]))
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		exit := exitLine.FindStringSubmatch(line)
		switch {
		case line == "" || line[0] == '#':
		case !indented:
			s = &stage{exits: map[string]int{}}
			out[line] = s
			names = append(names, line)
		case line == "in order":
			s.inOrder = true
		case line == "served":
			s.served = true
		case exit != nil && exit[1] == "skip":
			s.exits[exit[2]] = -1
		case exit != nil:
			s.exits[exit[2]] = int(exit[1][0] - '0')
		default:
			s.acts = append(s.acts, [2]string{verb, rest})
		}
	}
	return out, names
}

// reads are the examples that change no file, of the commands that they begin
// with.
var reads = regexp.MustCompile(`^nsc (describe|list|why|validate|expirations|verify|revocations list|contracts (list|show))[ -_]|--dry-run$`)

// forExample makes a person for one example: p itself where nothing is written.
func (p *person) forExample(t *testing.T, s *stage, line string) *person {
	if len(s.acts) > 0 || !reads.MatchString(line) {
		return p.apart(t)
	}
	q := *p
	q.t = t
	return &q
}

// apart makes a person with a copy of p's store, keystore and working folder.
func (p *person) apart(t *testing.T) *person {
	t.Helper()
	q := &person{t: t, dir: t.TempDir(), cwd: t.TempDir(), now: p.now, in: p.in}
	err := errors.Join(os.CopyFS(q.dir, os.DirFS(p.dir)), os.CopyFS(q.cwd, os.DirFS(p.cwd)))
	config := filepath.Join(q.dir, "nsc.json")
	data, rerr := os.ReadFile(config)
	err = errors.Join(err, rerr, os.WriteFile(config, bytes.ReplaceAll(data, []byte(p.dir), []byte(q.dir)), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func (p *person) act(acts [][2]string) {
	p.t.Helper()
	for _, a := range acts {
		p.do(a[0], a[1])
	}
}

func (p *person) do(verb, rest string) {
	p.t.Helper()
	file, line, _ := strings.Cut(rest, " ")
	file = filepath.Join(p.cwd, file)
	write := func(text string) error { return os.WriteFile(file, []byte(text), 0o600) }
	var err error
	switch verb {
	case "before":
		p.ok(p.words(rest)...)
	case "into":
		err = write(p.ok(p.words(line)...).out)
	case "write":
		err = write(strings.ReplaceAll(line, `\n`, "\n"))
	case "seed":
		var pair keys.OperatorPair
		if pair, err = keys.NewOperator(); err == nil {
			err = write(string(pair.Seed()))
		}
	case "copy":
		if err = os.MkdirAll(file, 0o700); err == nil {
			err = os.CopyFS(file, os.DirFS(filepath.Join(p.dir, line)))
		}
	case "gone":
		err = os.RemoveAll(filepath.Join(p.dir, rest))
	case "stdin":
		var data []byte
		data, err = os.ReadFile(file)
		p.in = string(data)
	default:
		p.t.Fatalf("no such line: %s %s", verb, rest)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// plain are the commands whose result is a file in a language of its own, and
// those whose JSON is the official tool's, without a schema.
var plain = regexp.MustCompile(`^nsc (generate (activation|creds|config|diagram|profile)|describe (operator|account|user|jwt)|list (operators|accounts|users|keys)|expirations|completion) `)

// checkJSON requires what a command that succeeds prints with --json to be JSON
// with a schema.
func (r result) checkJSON(line string) {
	r.t.Helper()
	if r.code == 2 { // what does not go with --json
		return
	}
	plain := plain.MatchString(line + " ")
	if plain && r.out != "" && !strings.HasPrefix(r.out, "{") {
		return
	}
	dec, n := json.NewDecoder(strings.NewReader(r.out)), 0
	for ; ; n++ {
		var got map[string]any
		err := dec.Decode(&got)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || got["schema"] == nil && !plain {
			r.t.Errorf("%s --json: %v, %.200s", line, err, r.out)
			return
		}
	}
	if n == 0 || r.code != 0 {
		r.t.Errorf("%s --json: exit %d, %d results, %s", line, r.code, n, r.err)
	}
}

func (p *person) examples(s *stage, lines ...string) {
	p.t.Helper()
	p.act(s.acts)
	for _, line := range lines {
		if want := s.exits[line]; want >= 0 {
			p.run(p.words(line)...).exits(want)
		}
	}
}

var keyInExample = regexp.MustCompile(`^[AOU]([A-Z2-7]{55}|[A-Z2-7]+…)$`)

// words are the arguments of a command line, with what stands for others in it
// replaced.
func (p *person) words(line string) []string {
	p.t.Helper()
	words := cli.Words(strings.ReplaceAll(line, "~/", p.dir+"/"))
	if i := slices.Index(words, "--nats"); i > 0 {
		words[i+1] = p.serverURL()
	}
	for i, word := range words {
		if !keyInExample.MatchString(word) || words[i-1] == "-t" { // any account's
			continue
		}
		var token string
		var err error
		switch word[0] {
		case 'A':
			token, err = p.operator().AccountJWT("app")
		case 'U':
			token, err = p.operator().UserJWT("app", "device1")
		default:
			token, err = p.operator().JWT()
		}
		doc, derr := claims.Decode(token)
		if err := errors.Join(err, derr); err != nil {
			p.t.Fatal(err)
		}
		words[i] = doc.Subject
	}
	return words[1:]
}
