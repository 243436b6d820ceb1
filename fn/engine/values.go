package engine

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Types of a flag's values that are checked. Any other takes every string.
const (
	typeInt    = "int"
	typeHuman  = "int_human"
	typeFloat  = "float"
	typeNumber = "number"
	typeJSON   = "json"
	typeString = "str"
)

var (
	integer = regexp.MustCompile(`^[+-]?\d+(_\d+)*$`)
	decimal = regexp.MustCompile(`^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$`)
	// human numbers have a decimal suffix, or a binary one with no fraction.
	human = regexp.MustCompile(`^(\d+(\.\d+)?[kmgt]|\d+[KMGT])$`)
	// reference to an environment variable, which Kubernetes expands.
	reference = regexp.MustCompile(`^\$\([A-Za-z_][A-Za-z0-9_]*\)$`)
)

// words that mean on and off to people.
//
//nolint:gochecknoglobals // A constant that Go cannot express as such.
var booleans = map[string]bool{
	"true": true, "yes": true, "on": true, "1": true,
	"false": false, "no": false, "off": false, "0": false,
}

func boolean(s string) (value, ok bool) {
	value, ok = booleans[strings.ToLower(strings.TrimSpace(s))]
	return value, ok
}

// expects says what a flag takes, for people.
func (f flag) expects() string {
	switch {
	case len(f.choices) > 0:
		return "one of " + listed(f.choices)
	case f.typ == typeInt:
		return "an integer"
	case f.typ == typeHuman:
		return "an integer such as 32768, 32k or 32K"
	case f.typ == typeFloat, f.typ == typeNumber:
		return "a number"
	case f.typ == typeJSON:
		return "JSON"
	}
	return "a value"
}

// listed are the first of some values, and how many there are more.
func listed(values []string) string {
	const most = 12
	values = slices.DeleteFunc(slices.Clone(values), func(v string) bool { return v == "None" })
	if len(values) <= most {
		return strings.Join(values, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(values[:most], ", "), len(values)-most)
}

// parse a value as the flag's type. It returns the value as the engine takes
// it, and false if it does not.
func (f flag) parse(v string) (string, bool) {
	if slices.Contains(f.words, v) {
		return v, true
	}
	trimmed := strings.TrimSpace(v)
	switch f.typ {
	case typeInt:
		return parseInt(trimmed)
	case typeHuman:
		if human.MatchString(trimmed) {
			return trimmed, true
		}
		return parseInt(trimmed)
	case typeFloat, typeNumber:
		return trimmed, decimal.MatchString(trimmed)
	case typeJSON:
		// Quotes that a shell would have removed.
		if n := len(trimmed); n > 1 && trimmed[0] == '\'' && trimmed[n-1] == '\'' {
			trimmed = trimmed[1 : n-1]
		}
		return trimmed, json.Valid([]byte(trimmed))
	}
	return v, true
}

func parseInt(v string) (string, bool) {
	if !integer.MatchString(v) {
		return v, false
	}
	// Python takes underscores, but whoever else reads the number may not.
	n, err := strconv.ParseInt(strings.ReplaceAll(v, "_", ""), 10, 64)
	return strconv.FormatInt(n, 10), err == nil
}

// choose the choice that is clearly meant: case and punctuation do not matter.
// It returns false if there is none, or more than one.
func choose(choices []string, v string) (string, bool) {
	if slices.Contains(choices, v) {
		return v, true
	}
	found := ""
	for _, c := range choices {
		if plain(c) != plain(v) {
			continue
		}
		if found != "" {
			return "", false
		}
		found = c
	}
	return found, found != ""
}

func plain(s string) string {
	return strings.NewReplacer("-", "", "_", "", ".", "", " ", "").Replace(strings.ToLower(strings.TrimSpace(s)))
}

// tokens as a plain integer: one with a suffix is spelled out.
func tokens(v string) string {
	v = strings.TrimSpace(v)
	if !human.MatchString(v) {
		return v
	}
	number, suffix := v[:len(v)-1], v[len(v)-1:]
	unit := 1000.0
	if strings.ToUpper(suffix) == suffix {
		unit = 1024
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return v
	}
	for range strings.Index("kmgt", strings.ToLower(suffix)) + 1 {
		n *= unit
	}
	if n > 1<<53 {
		return v
	}
	return strconv.FormatInt(int64(n), 10)
}

// similar returns the name that a misspelled one is closest to, or nothing.
func similar(names []string, name string) string {
	const far, longest = 2, 60
	best, least := "", far+1
	words := sortedWords(name)
	for _, n := range names {
		if !strings.HasPrefix(n, "--") || len(name) > longest {
			continue
		}
		d := far + 1
		// --max-model-length for --max-model-len.
		if longer := strings.HasPrefix(name, n) && len(n) >= 10; longer || sortedWords(n) == words {
			d = far
		}
		if diff := len(n) - len(name); diff >= -far && diff <= far {
			d = min(d, distance(n, name))
		}
		if d < least {
			best, least = n, d
		}
	}
	return best
}

func sortedWords(name string) string {
	words := strings.Split(strings.TrimLeft(name, "-"), "-")
	slices.Sort(words)
	return strings.Join(words, "-")
}

// distance is how many characters must be inserted, removed or replaced to
// turn one string into another.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, last+1)
		}
	}
	return row[len(b)]
}
