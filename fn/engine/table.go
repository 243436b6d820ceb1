package engine

import (
	"embed"
	"slices"
	"strings"
	"sync"

	"github.com/crossplane/function-sdk-go/errors"
)

// The flags of both engines, dumped from their real parsers. The comments at
// the head of a file say of which version, and what its columns mean.
//
//go:embed flags/*.tsv
var flagFiles embed.FS

// A flagKind says how a parser takes a flag.
type flagKind string

const (
	// kindSwitch takes no value. It is on as --x and off as --no-x.
	kindSwitch flagKind = "bool"
	// kindStoreTrue takes no value, and has no way to be switched off.
	kindStoreTrue flagKind = "store_true"
	kindValue     flagKind = "value"
	// kindRemoved is parsed only to be refused.
	kindRemoved flagKind = "removed"
)

// A flag of an engine's parser.
type flag struct {
	// name that is canonical: the long one, not negated.
	name string
	kind flagKind
	// typ of its values, such as int, float, json, int_human and str.
	typ string
	// words that it takes besides values of the type, such as auto.
	words []string
	// choices of a value, whether the parser or the engine enforces them; nil
	// if there are others, too.
	choices []string
	// known values, if there are others, too.
	known []string
	// rocm is which of the choices run on AMD hardware; nil if all of them do.
	rocm []string
	// nargs as Python's argparse has it: empty, ?, * or +.
	nargs string
	// repeatable flags add up. Of any other the parser takes the last.
	repeatable bool
}

// takesMany says whether several values may follow the flag.
func (f flag) takesMany() bool { return f.nargs == "+" || f.nargs == "*" }

// A spelling of a flag.
type spelling struct {
	flag string
	// negated is --no-x of the flag --x.
	negated bool
}

// A flagTable is what a parser knows.
type flagTable struct {
	flags map[string]flag
	// spellings of the flags: aliases, negations, and the names themselves.
	spellings map[string]spelling
	// names of all spellings, sorted.
	names []string
}

// lookup a flag by one of its spellings.
func (t *flagTable) lookup(name string) (flag, bool, bool) {
	s, ok := t.spellings[name]
	if !ok {
		return flag{}, false, false
	}
	return t.flags[s.flag], s.negated, true
}

// abbreviated returns the spellings that begin with the supplied one, one for
// each flag that it could be.
func (t *flagTable) abbreviated(name string) []string {
	if !strings.HasPrefix(name, "--") || len(name) < len("--x") {
		return nil
	}
	var out []string
	seen := map[spelling]bool{}
	i, _ := slices.BinarySearch(t.names, name)
	for ; i < len(t.names) && strings.HasPrefix(t.names[i], name); i++ {
		if s := t.spellings[t.names[i]]; !seen[s] {
			seen[s] = true
			out = append(out, t.names[i])
		}
	}
	return out
}

// rows of an embedded file, without comments. Each has at least n columns.
func rows(file string, n int) ([][]string, error) {
	b, err := flagFiles.ReadFile("flags/" + file)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot read flags of %s", file)
	}
	var out [][]string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cols := strings.Split(line, "\t")
		for len(cols) < n {
			cols = append(cols, "")
		}
		out = append(out, cols)
	}
	return out, nil
}

func readTable(file string) (*flagTable, error) {
	lines, err := rows(file, 3)
	if err != nil {
		return nil, err
	}
	t := &flagTable{flags: map[string]flag{}, spellings: map[string]spelling{}}
	for _, cols := range lines {
		name, kind := cols[0], flagKind(cols[1])
		if !strings.HasPrefix(name, "-") {
			// The positional, which every engine's file knows of.
			continue
		}
		details := map[string]string{}
		for d := range strings.SplitSeq(cols[2], ";") {
			k, v, _ := strings.Cut(d, "=")
			details[k] = v
		}
		if of, ok := details["alias_of"]; ok {
			t.spellings[name] = spelling{flag: of}
			continue
		}
		if of, ok := details["negates"]; ok {
			t.spellings[name] = spelling{flag: of, negated: true}
			continue
		}
		t.spellings[name] = spelling{flag: name}
		t.flags[name] = newFlag(name, kind, details)
	}
	for name, s := range t.spellings {
		if _, ok := t.flags[s.flag]; !ok {
			return nil, errors.Errorf("cannot use flags of %s: %s stands for %s, which is not there", file, name, s.flag)
		}
		t.names = append(t.names, name)
	}
	slices.Sort(t.names)
	return t, nil
}

func newFlag(name string, kind flagKind, details map[string]string) flag {
	list := func(d string) []string {
		if v, ok := details[d]; ok {
			return strings.Split(v, "|")
		}
		return nil
	}
	f := flag{name: name, kind: kind, nargs: details["nargs"], known: list("documented"), rocm: list("rocm_supported")}
	_, f.repeatable = details["repeatable"]
	f.choices = slices.Concat(list("choices"), list("validated"))
	if types := list("type"); len(types) > 0 {
		f.typ, f.words = types[0], types[1:]
	}
	if f.typ == typeJSON && details["default"] == "cpu" {
		// A union of a JSON object and a plain word.
		f.typ = typeString
	}
	return f
}

// A goneFlag was removed from an engine.
type goneFlag struct {
	// engine that had it.
	engine string
	// values that it took: none, value or values.
	values string
	// since which version it is gone.
	since string
	// advice on what to use instead; may be empty.
	advice string
}

func readGone(engine, file string) (map[string]goneFlag, error) {
	lines, err := rows(file, 4)
	if err != nil {
		return nil, err
	}
	out := map[string]goneFlag{}
	for _, cols := range lines {
		out[cols[0]] = goneFlag{engine: engine, values: cols[1], since: cols[2], advice: cols[3]}
	}
	return out, nil
}

//nolint:gochecknoglobals // Embedded files that are read once.
var (
	vllmFlags   = sync.OnceValues(func() (*flagTable, error) { return readTable("vllm.tsv") })
	sglangFlags = sync.OnceValues(func() (*flagTable, error) { return readTable("sglang.tsv") })
	vllmGone    = sync.OnceValues(func() (map[string]goneFlag, error) { return readGone("vLLM", "vllm-removed.tsv") })
)
