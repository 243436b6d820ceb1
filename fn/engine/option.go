package engine

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// secrets are flags whose value nobody may see.
//
//nolint:gochecknoglobals // A constant that Go cannot express as such.
var secrets = []string{"--admin-api-key", "--api-key", "--hf-token", "--ssl-keyfile-password"}

var (
	secretName  = regexp.MustCompile(`-(api-?key|access-key|token|password|secret)$`)
	secretValue = regexp.MustCompile(`(?i)^(hf_|sk-|ghp_|glpat-)|(token|key|secret|password)=`)
	secretToken = regexp.MustCompile(`(?i)(^|[\s"=])(?:hf_|sk-|ghp_|glpat-)[^\s"]*`)
	secretWord  = regexp.MustCompile(`(?i)token|secret|password|api.?key|hf_|sk-`)
	flagName    = regexp.MustCompile(`^--?[A-Za-z][A-Za-z0-9_.+-]*$`)
	level       = regexp.MustCompile(`^-O=?(\d*)$`)
)

// An option is a flag with its values, as a parser would see it.
type option struct {
	flag flag
	// negated is --no-x.
	negated bool
	// sub is the rest of a dotted name, with its dot.
	sub string
	// raw items of a flag that is passed on as it is.
	raw    []string
	values []string
	// arg as the user wrote it.
	arg string
	// implied by another argument, and less than one that is there.
	implied bool
}

func (o option) value() string {
	if len(o.values) == 0 {
		return ""
	}
	return o.values[len(o.values)-1]
}

// key of options that exclude each other.
func (o option) key() string { return o.flag.name + o.sub }

// items of the command line.
func (o option) items() []string {
	if o.raw != nil {
		return o.raw
	}
	name := o.key()
	if o.negated {
		name = "--no-" + strings.TrimPrefix(name, "--")
	}
	if len(o.values) == 1 && isFlag(o.values[0]) {
		// On its own it would be taken for a flag.
		return []string{name + "=" + o.values[0]}
	}
	return slices.Concat([]string{name}, o.values)
}

// checked values of an option, as the engine takes them.
func (r *repairer) checked(o option) (option, bool) {
	if len(o.values) == 0 {
		r.failf(o.arg, "needs a value: give it %s", o.flag.expects())
		return o, false
	}
	out := make([]string, 0, len(o.values))
	for _, v := range o.values {
		if strings.TrimSpace(v) == "" && o.flag.takesMany() {
			continue
		}
		v, ok := r.value(o, v)
		if !ok {
			return o, false
		}
		out = append(out, v)
	}
	o.values = out
	return o, len(out) > 0
}

func (r *repairer) value(o option, v string) (string, bool) {
	f, lower := o.flag, strings.ToLower(strings.TrimSpace(v))
	choice, is := choose(f.choices, v)
	if synonym, ok := r.dialect.synonyms[f.name][lower]; ok && !is && !slices.Contains(f.known, v) {
		r.warnf(o.arg, "is %s to %s: written so", synonym, r.dialect.name)
		v, choice, is = synonym, synonym, true
	}
	parsed, ok := f.parse(v)
	switch {
	case len(f.choices) == 0 && ok:
		return parsed, true
	case is && ok && choice == v:
		return v, true
	case is:
		r.warnf(o.arg, "is written %s", choice)
		return choice, true
	case len(f.choices) > 0 && r.server.CustomImage:
		r.warnf(o.arg, "is no value that this version's table knows, and is passed on as it is")
		return v, true
	}
	if f.typ == typeJSON {
		// It may be long, and it may hold anything.
		r.failf(o.arg, "takes JSON, and this is none: correct it")
		return v, false
	}
	if secretWord.MatchString(v) {
		// Somebody put a secret into the wrong place.
		r.failf(o.arg, "takes %s", f.expects())
		return v, false
	}
	r.failf(o.arg, "takes %s, not %q", f.expects(), shortened(v, 20))
	return v, false
}

// reviseUtilization, which is a share: a percentage is turned into one.
func reviseUtilization(r *repairer, o option) (option, bool) {
	v := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(o.value()), "%"))
	u, err := strconv.ParseFloat(v, 64)
	switch {
	case !decimal.MatchString(v) || err != nil || u <= 0 || u > 100:
		r.failf(o.arg, "takes a share of the GPU's memory above 0 and up to 1, such as 0.9")
		return o, false
	case u > 1 || v != strings.TrimSpace(o.value()):
		v = strconv.FormatFloat(u/100, 'f', -1, 64)
		r.warnf(o.arg, "is a share, not a percentage: written %s", v)
	}
	o.values = []string{v}
	return o, true
}
