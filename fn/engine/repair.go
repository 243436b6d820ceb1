package engine

import (
	"fmt"
	"slices"
	"strings"
)

// Severity of a finding.
type Severity string

// Severities.
const (
	SeverityError   Severity = "Error"
	SeverityWarning Severity = "Warning"
)

// A Finding about an argument. Error: the engine would not start with it, or
// must not, and it is left out. Warning: it was dealt with as the message says.
type Finding struct {
	Severity Severity
	// Arg as the user wrote it, in at most 60 characters. A secret's value is
	// not part of it.
	Arg     string
	Message string
}

// A repairer reads arguments once, from left to right.
type repairer struct {
	dialect  dialect
	server   Server
	own      *flagTable
	other    *flagTable
	gone     map[string]goneFlag
	options  []option
	findings []Finding
	// implied are the findings of options that another one implied.
	implied []int
	// flagged says whether there was a flag already.
	flagged bool
}

func (r *repairer) warnf(arg, format string, a ...any) {
	r.find(SeverityWarning, arg, fmt.Sprintf(format, a...))
}

func (r *repairer) failf(arg, format string, a ...any) {
	r.find(SeverityError, arg, fmt.Sprintf(format, a...))
}

// find something. A value that looks like a secret is where it should not be,
// and nobody else must see it.
func (r *repairer) find(s Severity, arg, message string) {
	r.findings = append(r.findings, Finding{Severity: s, Arg: arg, Message: secretToken.ReplaceAllString(message, "$1…")})
}

// Repair the arguments of a recipe. What is clearly meant becomes what the
// engine accepts, what the platform sets itself is removed, and what cannot be
// right is an error, and left out. The arguments that are returned are accepted
// by the engine, and are returned as they are when they are repaired again.
func (e Engine) Repair(s Server) ([]string, []Finding) {
	r := &repairer{dialect: e.dialect, server: s}
	var err error
	if r.own, err = e.dialect.flags(); err == nil {
		r.other, err = e.dialect.otherFlags()
	}
	if err == nil {
		r.gone, err = e.dialect.gone()
	}
	if err != nil {
		// The tables are part of this program, and tests read them.
		r.failf("", "%s", err)
		return s.Args, r.findings
	}
	r.read(r.split(s.Args))
	r.settle()
	var out []string
	for _, o := range r.options {
		out = append(out, o.items()...)
	}
	return out, r.findings
}

// split arguments until each is one item of a command line.
func (r *repairer) split(args []string) []string {
	command, args := cutCommand(args)
	if len(command) > 0 {
		r.warnf(shortened(strings.Join(command, " "), maxArg), "repeats the command, which the platform sets: removed")
	}
	var out []string
	for _, a := range args {
		trimmed := strings.TrimSpace(a)
		switch {
		case holdsSeveral(trimmed):
			f := fields(trimmed)
			name, _, _ := strings.Cut(f[0], "=")
			whole := trimmed
			if slices.ContainsFunc(f[1:], isFlag) {
				// What the other flags are, and whether they are secrets, shows later.
				whole = name
			}
			r.warnf(r.shown(name, whole), "holds several arguments in one: split")
			out = append(out, f...)
		case isFlag(trimmed):
			out = append(out, trimmed)
		default:
			out = append(out, a)
		}
	}
	return out
}

const maxArg = 60

// shown is an argument for a finding. It is only the name of a flag whose
// value may be a secret, for all we know.
func (r *repairer) shown(name, whole string) string {
	res := r.resolve(name)
	if res.how == unknown || res.how == ambiguous || slices.Contains(secrets, res.flag.name) || secretWord.MatchString(strings.TrimPrefix(whole, name)) {
		whole = name
	}
	return shortened(whole, maxArg)
}

func (r *repairer) read(args []string) {
	for i := 0; i < len(args); {
		a := args[i]
		switch {
		case strings.TrimSpace(a) == "":
			i++
		case a == "--":
			r.warnf(a, "separates nothing here: removed")
			i++
		case isFlag(a):
			i += r.option(args[i:], "")
			r.flagged = true
		default:
			r.positional(a)
			i++
		}
	}
}

func (r *repairer) positional(a string) {
	arg := shortened(a, maxArg)
	if at := secretValue.FindStringIndex(a); at != nil {
		arg = shortened(a[:at[1]], maxArg-1) + "…"
	}
	switch {
	case strings.TrimSpace(a) == r.server.Model:
	case !r.flagged && len(r.options) == 0:
		r.warnf(arg, "is not the model that is served, which spec.modelId decides: removed")
	default:
		r.failf(arg, "is no flag, and nothing before it takes a value: remove it")
	}
}

// option reads a flag and its values from the front of some arguments, and
// returns how many it took. Arg is what the user wrote instead; empty if it is
// what is there.
func (r *repairer) option(args []string, arg string) int {
	name, inline, isInline := strings.Cut(args[0], "=")
	if m := level.FindStringSubmatch(args[0]); m != nil && r.dialect.optimization {
		name, inline, isInline = "--optimization-level", m[1], m[1] != ""
	}
	res := r.resolve(name)
	values, n := []string(nil), 1
	if isInline {
		values = []string{inline}
	} else {
		values = res.values(args[1:])
		n += len(values)
	}
	if arg == "" {
		arg = r.shown(name, strings.Join(args[:n], " "))
	}
	if !r.dialect.underscores && strings.Contains(name, "_") && res.how != unknown {
		r.warnf(arg, "is written with dashes")
	}
	o := option{flag: res.flag, negated: res.negated, sub: res.sub, values: values, arg: arg}

	raw := slices.Clone(args[:n])
	if isInline && strings.ContainsAny(inline, whitespace) {
		// In one item it would look like several arguments.
		raw = []string{name, inline}
	}

	secret := slices.Contains(secrets, res.flag.name) || (res.how == unknown && secretName.MatchString(dashed(name)))
	if (len(values) > 0 || res.flag.nargs == "?") && !slices.ContainsFunc(values, func(v string) bool { return !reference.MatchString(v) }) {
		// A reference to a variable gives nothing away.
		secret = false
	}
	switch {
	case !secret && slices.ContainsFunc(values, func(v string) bool {
		return isFlag(strings.TrimSpace(v)) && (len(values) > 1 || strings.ContainsAny(v, whitespace))
	}):
		r.failf(arg, "has a value that looks like several arguments: put each into an argument of its own")
	case secret:
		instead := "use env with secretKeyRef, and write $(NAME) here"
		if env, ok := r.dialect.secretEnv[res.flag.name]; ok {
			instead = "use env with secretKeyRef (" + env + ")"
		}
		r.failf(arg, "is a secret, and must never be in arguments: %s", instead)
	case res.how == ours:
		r.ours(o)
	case res.how == gone:
		r.removed(o, res.gone, raw)
	case res.how == theirs:
		r.theirs(o)
	case res.how == ambiguous:
		r.failf(arg, "is short for several flags: write one of %s", listed(res.could))
	case r.server.CustomImage && flagName.MatchString(name):
		r.warnf(arg, "is not known to this version's table, and is passed on as it is")
		r.options = append(r.options, option{raw: raw, arg: arg})
	case res.also != "":
		r.failf(arg, "is no flag of %s: remove it, or did you mean %s?", r.dialect.name, res.also)
	default:
		r.failf(arg, "is no flag of %s: remove it", r.dialect.name)
	}
	return n
}

// ours is a flag that the engine has.
func (r *repairer) ours(o option) {
	if own, ok := r.dialect.owned[o.flag.name]; ok {
		if own.want == nil || (len(o.values) == 1 && strings.TrimSpace(o.values[0]) == own.want(r.server)) {
			return
		}
		r.warnf(o.arg, "%s: removed", own.by)
		return
	}
	if o.flag.name == "--help" {
		r.failf(o.arg, "makes %s print its help and stop: remove it", r.dialect.name)
		return
	}
	if o.flag.kind == kindRemoved {
		r.warnf(o.arg, "is taken by %s only to be refused: removed", r.dialect.name)
		return
	}
	if o.flag.kind != kindValue {
		if o, ok := r.switched(o); ok {
			r.accept(o)
		}
		return
	}
	revise := (*repairer).checked
	switch {
	case o.sub != "":
		revise = func(r *repairer, o option) (option, bool) {
			if len(o.values) == 0 {
				r.failf(o.arg, "needs a value")
			}
			return o, len(o.values) > 0
		}
	case len(o.values) == 0 && (o.flag.nargs == "?" || o.flag.nargs == "*"):
		r.accept(o)
		return
	}
	if rev, ok := map[string]func(*repairer, option) (option, bool){
		flagDType: reviseDType, flagQuantization: reviseQuantization, r.dialect.utilization: reviseUtilization,
	}[o.flag.name]; ok && len(o.values) == 1 {
		revise = rev
	}
	if o, ok := revise(r, o); ok && !r.parallel(o) {
		r.accept(o)
	}
}

// removed from the engine is a flag that it had once.
func (r *repairer) removed(o option, g goneFlag, raw []string) {
	switch {
	case g.engine != r.dialect.name:
		r.warnf(o.arg, "was a flag of %s, which has it no more: removed", g.engine)
	case r.server.CustomImage:
		r.warnf(o.arg, "is gone from %s, and is passed on as it is, for the image may be older", r.dialect.name)
		r.accept(option{raw: raw, arg: o.arg})
	case g.advice != "":
		r.warnf(o.arg, "is gone from %s: removed, %s", g.engine, g.advice)
	default:
		r.warnf(o.arg, "is gone from %s: removed", g.engine)
	}
}

// theirs is a flag that only the other engine has.
func (r *repairer) theirs(o option) {
	key := o.flag.name
	if o.flag.kind != kindValue && len(o.values) > 0 {
		on, ok := boolean(o.value())
		if !ok {
			r.failf(o.arg, "takes no value: remove it")
			return
		}
		o.negated, o.values = o.negated == on, nil
	}
	if o.negated {
		key = "--no-" + strings.TrimPrefix(key, "--")
	}
	t, ok := r.dialect.translations[key]
	if _, on := r.dialect.translations[o.flag.name]; !ok && on {
		r.warnf(o.arg, "is a flag of %s that is off, as it is here without it: removed", r.dialect.other)
		return
	}
	if !ok {
		r.failf(o.arg, "is a flag of %s, and %s has nothing like it: remove it", r.dialect.other, r.dialect.name)
		return
	}
	var args []string
	if t.to != nil {
		args = t.to(o.values, r.server)
	}
	why := ""
	if t.why != "" {
		why = ", " + t.why
	}
	if len(args) == 0 {
		r.warnf(o.arg, "is a flag of %s%s: removed", r.dialect.other, why)
		return
	}
	name, value, _ := strings.Cut(args[0], "=")
	to := r.resolve(name)
	if _, sets := r.dialect.owned[to.flag.name]; !sets && !slices.Contains(r.dialect.parallel, to.flag.name) {
		r.warnf(o.arg, "is a flag of %s%s: written %s", r.dialect.other, why, shortened(strings.TrimSpace(name+" "+value), maxArg))
	}
	r.option(args, o.arg)
}

func (r *repairer) accept(o option) { r.options = append(r.options, o) }

// switched turns a value of a flag that takes none into how the flag is
// switched. It returns false if the flag is off without being there.
func (r *repairer) switched(o option) (option, bool) {
	if len(o.values) > 0 {
		on, ok := boolean(o.value())
		if !ok {
			r.failf(o.arg, "takes no value: remove it")
			return o, false
		}
		o.values = nil
		o.negated = o.negated == on
		switch {
		case !o.negated:
			r.warnf(o.arg, "takes no value: written %s", o.flag.name)
		case o.flag.kind == kindSwitch:
			r.warnf(o.arg, "takes no value: written --no-%s", strings.TrimPrefix(o.flag.name, "--"))
		}
	}
	if o.negated && o.flag.kind == kindStoreTrue {
		r.warnf(o.arg, "is off unless it is there: removed")
		return o, false
	}
	return o, true
}

// parallel says whether an option asks for more GPUs than there are, or for no
// more, and says so.
func (r *repairer) parallel(o option) bool {
	if !slices.Contains(r.dialect.parallel, o.flag.name) {
		return false
	}
	if o.value() == "1" {
		return true
	}
	if o.flag.name == flagDPSize {
		// With attention that is data parallel it divides the GPUs, rather than
		// multiplies them. Whether there is, settle knows.
		return false
	}
	r.failf(o.arg, "multiplies the GPUs that are needed, and tensor parallelism uses all %d of the configuration: remove it", r.server.TensorParallelSize)
	return true
}

// settle what is known only once all arguments are read.
func (r *repairer) settle() {
	has := func(f func(o option) bool) bool { return slices.ContainsFunc(r.options, f) }
	explicit := has(func(o option) bool { return o.flag.name == flagQuantization && !o.implied })
	attention := has(func(o option) bool { return o.flag.name == "--enable-dp-attention" })
	if explicit {
		for _, i := range r.implied {
			r.findings[i].Message = "is no dtype of " + r.dialect.name + ", and is not needed next to --quantization: removed"
		}
	}
	last, quantized := map[string]int{}, false
	for i, o := range r.options {
		if !o.implied {
			last[o.key()] = i
		}
	}
	var out []option
	for i, o := range r.options {
		switch {
		case o.raw != nil, o.flag.repeatable:
			out = append(out, o)
		case o.implied:
			if !explicit && !quantized {
				out = append(out, o)
			}
			quantized = true
		case last[o.key()] != i:
			r.warnf(o.arg, "is there again, and the last one counts: removed")
		case o.flag.name == flagDPSize && !attention:
			r.failf(o.arg, "multiplies the GPUs that are needed, and tensor parallelism uses all %d of the configuration: remove it, or add --enable-dp-attention", r.server.TensorParallelSize)
		default:
			out = append(out, o)
		}
	}
	r.options = out
}

const flagDPSize = "--dp-size"
