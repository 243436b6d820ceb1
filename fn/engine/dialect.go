package engine

import (
	"slices"
	"strconv"
	"strings"
)

// A dialect is how an engine takes arguments, as opposed to other engines.
type dialect struct {
	// name of the engine, for people.
	name string
	// flags of the engine's own parser.
	flags func() (*flagTable, error)
	// underscores may stand for dashes in a flag's name, and a dot and a key
	// may follow the name of a flag that takes JSON.
	underscores bool
	// optimization level may be written -O3.
	optimization bool

	// other engine, whose flags are known here.
	other      string
	otherFlags func() (*flagTable, error)
	// translations of the other engine's flags. Keys are canonical names, and
	// --no-x for a flag that is off.
	translations map[string]translation
	// gone are flags that the engine had once.
	gone func() (map[string]goneFlag, error)

	// shorthands that the parser finds ambiguous, or takes for something else,
	// and that mean one thing to people.
	shorthands map[string]string
	// secretEnv are environment variables to use instead of secret flags.
	secretEnv map[string]string

	// owned flags are set by the platform, from what the key's value says.
	owned map[string]owned
	// parallel flags multiply the number of GPUs.
	parallel []string
	// utilization is the flag of the share of GPU memory.
	utilization string
	// synonyms of a flag's values, by the flag and by the value in lower case.
	// They count only where the engine does not know the value itself.
	synonyms map[string]map[string]string
	// notOnROCm are quantizations that the parser takes, and AMD hardware doesn't.
	notOnROCm []string
}

// An owned flag is set by the platform.
type owned struct {
	// want is what the platform sets it to; nil if any value goes unsaid.
	want func(s Server) string
	// by says who decides instead.
	by string
}

// What the platform sets, whatever the engine calls it.
//
//nolint:gochecknoglobals // Constants that Go cannot express as such.
var (
	ownedModel          = owned{want: func(s Server) string { return s.Model }, by: "spec.modelId decides which model is served"}
	ownedServedName     = owned{want: func(s Server) string { return s.Model }, by: "the model is served under its id, spec.modelId"}
	ownedRevision       = owned{want: func(s Server) string { return s.Revision }, by: "spec.model.revision of the endpoint decides"}
	ownedTensorParallel = owned{
		want: func(s Server) string { return strconv.Itoa(int(s.TensorParallelSize)) },
		by:   "gpuCount of the configuration decides on the tensor parallel size",
	}
	ownedHost = owned{want: func(Server) string { return anyHost }, by: "the platform sets it to " + anyHost + ", or the pod could not be reached"}
	// ownedQuietly are set to the only value that makes sense.
	ownedQuietly = owned{}
)

// anyHost listens on all of a pod's addresses.
const anyHost = "0.0.0.0"

func ownedPort(port int) owned {
	return owned{want: func(Server) string { return strconv.Itoa(port) }, by: "service.port of the endpoint decides"}
}

// dtypeSynonyms are short names of dtypes.
//
//nolint:gochecknoglobals // A constant that Go cannot express as such.
var dtypeSynonyms = map[string]string{
	"bf16": "bfloat16", "fp16": "float16", "f16": "float16", "fp32": "float32", "f32": "float32",
	"torch.bfloat16": "bfloat16", "torch.float16": "float16",
}

// A translation of another engine's flag.
type translation struct {
	// to what the engine takes instead; nil, or nothing, if that is nothing.
	to func(values []string, s Server) []string
	// why it is as it is; may be empty.
	why string
}

// as another flag with the same values.
func as(flag string) translation {
	return translation{to: func(values []string, _ Server) []string { return withValues(flag, values) }}
}

// without anything, for a reason.
func without(why string) translation {
	return translation{why: why}
}

// withValues of a flag, such that none of them is taken for a flag.
func withValues(flag string, values []string) []string {
	if len(values) == 1 {
		return []string{flag + "=" + values[0]}
	}
	return slices.Concat([]string{flag}, values)
}

// A resolution says whose a flag is.
type resolution struct {
	how     how
	flag    flag
	negated bool
	sub     string
	gone    goneFlag
	// could be any of these.
	could []string
	// also is a name that is close.
	also string
}

type how int

const (
	unknown how = iota
	ambiguous
	ours
	gone
	theirs
)

// name as translations have it.
func (res resolution) name() string {
	if res.negated {
		return "--no-" + strings.TrimPrefix(res.flag.name, "--")
	}
	return res.flag.name
}

func dashed(name string) string {
	head, sub, dotted := strings.Cut(name, ".")
	head = strings.ReplaceAll(head, "_", "-")
	if dotted {
		return head + "." + sub
	}
	return head
}

func (r *repairer) resolve(name string) resolution {
	name = dashed(name)
	if res, ok := r.lookup(name); ok {
		return res
	}
	if f, negated, ok := r.other.lookup(name); ok {
		if own, _, ok := r.own.lookup(f.name); ok {
			// A short form of the other engine.
			return resolution{how: ours, flag: own, negated: negated && own.kind == kindSwitch}
		}
		res := resolution{how: theirs, flag: f, negated: negated}
		if _, ok := r.dialect.translations[res.name()]; ok {
			return res
		}
		if _, ok := r.dialect.translations[f.name]; ok {
			return res
		}
	}
	if could := r.own.abbreviated(name); len(could) > 0 {
		if len(could) > 1 {
			return resolution{how: ambiguous, could: could}
		}
		f, negated, _ := r.own.lookup(could[0])
		return resolution{how: ours, flag: f, negated: negated}
	}
	if f, negated, ok := r.other.lookup(name); ok {
		return resolution{how: theirs, flag: f, negated: negated}
	}
	if could := r.other.abbreviated(name); len(could) == 1 {
		if f, negated, _ := r.other.lookup(could[0]); slices.Contains(secrets, f.name) {
			return resolution{how: theirs, flag: f, negated: negated}
		}
	}
	return resolution{how: unknown, also: similar(r.own.names, name)}
}

// lookup a name that needs no guess.
func (r *repairer) lookup(name string) (resolution, bool) {
	if full, ok := r.dialect.shorthands[name]; ok {
		name = full
	}
	if f, negated, ok := r.own.lookup(name); ok {
		return resolution{how: ours, flag: f, negated: negated}, true
	}
	head, sub, dotted := strings.Cut(name, ".")
	if f, negated, ok := r.own.lookup(head); ok && dotted && sub != "" && flagName.MatchString(name) && !negated && r.dialect.underscores && f.typ == typeJSON {
		return resolution{how: ours, flag: f, sub: "." + sub}, true
	}
	positive := "--" + strings.TrimPrefix(name, "--no-")
	if strings.HasPrefix(name, "--no-") {
		if f, _, ok := r.own.lookup(positive); ok && f.kind == kindStoreTrue {
			return resolution{how: ours, flag: f, negated: true}, true
		}
	}
	for _, n := range []string{name, positive} {
		if g, ok := r.gone[n]; ok {
			f := flag{name: n, kind: kindValue, typ: typeString}
			switch g.values {
			case "none":
				f.kind = kindStoreTrue
			case "values":
				f.nargs = "+"
			}
			return resolution{how: gone, flag: f, gone: g}, true
		}
	}
	return resolution{}, false
}

// values that follow a flag.
func (res resolution) values(rest []string) []string {
	n := 0
	switch {
	case res.sub != "", res.flag.kind == kindValue && res.flag.nargs == "", res.flag.kind == kindValue && res.flag.nargs == "?":
		n = min(1, len(rest))
	case res.how != unknown && res.how != ambiguous && res.flag.kind != kindValue:
		if len(rest) > 0 {
			if _, ok := boolean(rest[0]); ok {
				n = 1
			}
		}
		return rest[:n]
	default:
		n = len(rest)
	}
	if slices.Contains(secrets, res.flag.name) {
		// Whatever follows must not be taken for something to be shown.
		n = len(rest)
	}
	if i := slices.IndexFunc(rest[:n], isFlag); i >= 0 {
		n = i
	}
	return rest[:n]
}
