package engine_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A flag of an engine's real parser.
type flag struct {
	kind string
	// details by name, such as type and choices.
	details map[string]string
	// alias of another flag.
	alias bool
}

// A parser of an engine. It knows nothing of the code that it judges: it reads
// the tables by itself.
type parser struct {
	flags map[string]flag
	// positional says whether the model comes first, rather than as a flag.
	positional bool
	// dotted keys of flags that take JSON are accepted.
	dotted bool
}

func parsers(tb testing.TB) map[string]parser {
	tb.Helper()
	return map[string]parser{
		"vllm":   {flags: flagTable(tb, "vllm.tsv", 300), positional: true, dotted: true},
		"sglang": {flags: flagTable(tb, "sglang.tsv", 400)},
	}
}

// flagTable reads a table of flags. Aliases are resolved.
func flagTable(tb testing.TB, file string, least int) map[string]flag {
	tb.Helper()
	f, err := os.Open(filepath.Join("flags", file))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()

	flags := map[string]flag{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.HasPrefix(sc.Text(), "#") || sc.Text() == "" {
			continue
		}
		cols := strings.Split(sc.Text(), "\t")
		fl := flag{kind: cols[1], details: map[string]string{}}
		for d := range strings.SplitSeq(cols[2], ";") {
			k, v, _ := strings.Cut(d, "=")
			fl.details[k] = v
		}
		flags[cols[0]] = fl
	}
	if len(flags) < least {
		tb.Fatalf("the table %s has %d flags only", file, len(flags))
	}
	for name, fl := range flags {
		if of, ok := fl.details["alias_of"]; ok {
			fl = flags[of]
			fl.alias = true
			flags[name] = fl
		}
	}
	return flags
}

// minus is what argparse takes for a number, not for a flag.
var minus = regexp.MustCompile(`^-([0-9]+|[0-9]*[.][0-9]+)$`)

func dash(a string) bool { return strings.HasPrefix(a, "-") && a != "-" && !minus.MatchString(a) }

// parse arguments as the engine's parser would. It returns the flags that were
// set.
func (p parser) parse(args []string) (map[string][]string, error) {
	if p.positional {
		if len(args) == 0 || dash(args[0]) {
			return nil, fmt.Errorf("the model must come first, got %q", args)
		}
		args = args[1:]
	}
	set := map[string][]string{}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		if !dash(name) {
			return nil, fmt.Errorf("%q is no flag, and nothing takes it as a value", args[i])
		}
		fl, ok := p.flags[name]
		if root, key, dot := strings.Cut(name, "."); !ok && dot && p.dotted && key != "" {
			fl, ok = p.flags[root]
			ok = ok && strings.HasPrefix(fl.details["type"], "json")
			fl = flag{kind: "value", details: map[string]string{}}
		}
		if !ok {
			return nil, fmt.Errorf("there is no flag %s", name)
		}
		if _, twice := set[name]; twice && !repeatable(fl) {
			return nil, fmt.Errorf("%s is given twice", name)
		}
		var values []string
		switch {
		case inline:
			values = []string{value}
		case fl.kind == "value":
			for i+1 < len(args) && !dash(args[i+1]) {
				i++
				values = append(values, args[i])
				if n := fl.details["nargs"]; n != "+" && n != "*" {
					break
				}
			}
		}
		if err := check(fl, values); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		set[name] = values
	}
	return set, nil
}

func repeatable(f flag) bool {
	_, ok := f.details["repeatable"]
	return ok
}

func check(fl flag, values []string) error {
	if fl.kind == "removed" {
		return fmt.Errorf("was removed")
	}
	if fl.kind != "value" {
		if len(values) > 0 {
			return fmt.Errorf("takes no value, got %q", values)
		}
		return nil
	}
	if n := fl.details["nargs"]; len(values) == 0 && n != "?" && n != "*" {
		return fmt.Errorf("takes a value")
	}
	for _, v := range values {
		var err error
		typ, words, _ := strings.Cut(fl.details["type"], "|")
		if slices.Contains(strings.Split(words, "|"), v) && words != "" {
			typ = "word"
		}
		if fl.details["default"] == "cpu" {
			// A union of JSON and a word.
			typ = "str"
		}
		switch typ {
		case "int":
			_, err = strconv.ParseInt(v, 10, 64)
		case "int_human":
			if n := len(v); n > 1 && strings.ContainsAny(v[n-1:], "kmgtKMGT") {
				v = v[:n-1]
			}
			_, err = strconv.ParseFloat(v, 64)
		case "float":
			_, err = strconv.ParseFloat(v, 64)
		case "json":
			if !json.Valid([]byte(v)) {
				err = fmt.Errorf("%q is not JSON", v)
			}
		}
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return err
		}
		for _, d := range []string{"choices", "validated"} {
			if c, ok := fl.details[d]; ok && !slices.Contains(strings.Split(c, "|"), v) {
				return fmt.Errorf("takes one of %s, got %q", c, v)
			}
		}
	}
	return nil
}

// TestParse makes sure that the check itself can fail.
func TestParse(t *testing.T) {
	cases := map[string]struct {
		reason string
		engine string
		args   []string
		ok     bool
	}{
		"Good":            {"What vLLM takes should pass.", "vllm", []string{"m", "--max-model-len", "8192", "--trust-remote-code", "--no-enable-prefix-caching", "--dtype=auto", "--served-model-name", "a", "b", "-cc.cudagraph_mode", "FULL"}, true},
		"GoodSGLang":      {"What SGLang takes should pass.", "sglang", []string{"--model-path", "m", "--context-length", "32k", "--tp-size=2", "--chunked-prefill-size", "-1", "--trust-remote-code"}, true},
		"ModelMissing":    {"The model must come first.", "vllm", []string{"--max-model-len", "8192"}, false},
		"Positional":      {"SGLang has no positional.", "sglang", []string{"m", "--tp-size", "2"}, false},
		"Unknown":         {"A flag of another engine should not pass.", "vllm", []string{"m", "--context-length", "8192"}, false},
		"UnknownToSGLang": {"A flag of another engine should not pass.", "sglang", []string{"--max-model-len", "8192"}, false},
		"Dotted":          {"SGLang takes no dotted flags.", "sglang", []string{"--preferred-sampling-params.x", "1"}, false},
		"DottedText":      {"A flag that takes text has no keys.", "vllm", []string{"m", "--dtype.x", "1"}, false},
		"Underscore":      {"SGLang takes no underscores.", "sglang", []string{"--context_length", "8192"}, false},
		"Removed":         {"A flag that was removed should not pass.", "vllm", []string{"m", "--swap-space", "16"}, false},
		"RemovedSGLang":   {"A flag that is there to be refused should not pass.", "sglang", []string{"--collect-tokens-histogram"}, false},
		"BoolValue":       {"A switch followed by true should not pass.", "vllm", []string{"m", "--trust-remote-code", "true"}, false},
		"BoolValueSGLang": {"A switch followed by true should not pass.", "sglang", []string{"--trust-remote-code", "true"}, false},
		"BoolEquals":      {"A switch with a value should not pass.", "vllm", []string{"m", "--enable-prefix-caching=true"}, false},
		"BoolNo":          {"A switch that cannot be switched off should not pass.", "sglang", []string{"--no-trust-remote-code"}, false},
		"NoValue":         {"A flag without its value should not pass.", "vllm", []string{"m", "--max-model-len", "--enforce-eager"}, false},
		"Choice":          {"A value that is not among the choices should not pass.", "vllm", []string{"m", "--dtype", "float8_e4m3"}, false},
		"Validated":       {"A value that vLLM refuses later should not pass.", "vllm", []string{"m", "--attention-backend", "FAST"}, false},
		"Type":            {"A value of another type should not pass.", "vllm", []string{"m", "--block-size", "large"}, false},
		"JSON":            {"A value that is no JSON should not pass.", "vllm", []string{"m", "--hf-overrides", "{"}, false},
		"Twice":           {"A flag that is given twice should not pass.", "vllm", []string{"m", "--port", "1", "--port", "2"}, false},
		"TwoValues":       {"A second value should not pass.", "vllm", []string{"m", "--port", "1", "2"}, false},
	}
	all := parsers(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := all[tc.engine].parse(tc.args); (err == nil) != tc.ok {
				t.Errorf("\n%s\nparse(%q): got error %v", tc.reason, tc.args, err)
			}
		})
	}
}
