package engine_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/recipe"
)

// A flag of an engine's real parser.
type flag struct {
	kind string
	// details by name, such as type and choices.
	details map[string]string
}

// flagTable reads testdata/vllm-serve-flags.tsv. Aliases are resolved.
func flagTable(t *testing.T) map[string]flag {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "vllm-serve-flags.tsv"))
	if err != nil {
		t.Fatal(err)
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
	if len(flags) < 300 {
		t.Fatalf("the table of vLLM's flags has %d flags only", len(flags))
	}
	for name, fl := range flags {
		if of, ok := fl.details["alias_of"]; ok {
			flags[name] = flags[of]
		}
	}
	return flags
}

// parse arguments as vLLM's parser would. It returns the flags that were set.
func parse(flags map[string]flag, args []string) (map[string][]string, error) {
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return nil, fmt.Errorf("the model must come first, got %q", args)
	}
	set := map[string][]string{}
	for i := 1; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "-") {
			return nil, fmt.Errorf("%q is no flag, and nothing takes it as a value", args[i])
		}
		fl, ok := flags[name]
		if pos, negated := strings.CutPrefix(name, "--no-"); !ok && negated {
			fl, ok = flags["--"+pos]
			ok = ok && fl.kind == "bool"
		}
		if !ok {
			return nil, fmt.Errorf("there is no flag %s", name)
		}
		if _, twice := set[name]; twice {
			return nil, fmt.Errorf("%s is given twice", name)
		}
		var values []string
		switch {
		case inline:
			values = []string{value}
		case fl.kind == "value":
			for i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
				i++
				values = append(values, args[i])
				if fl.details["nargs"] != "+" {
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

func check(fl flag, values []string) error {
	if fl.kind != "value" {
		if len(values) > 0 {
			return fmt.Errorf("takes no value, got %q", values)
		}
		return nil
	}
	if len(values) == 0 {
		return fmt.Errorf("takes a value")
	}
	for _, v := range values {
		var err error
		switch typ, _, _ := strings.Cut(fl.details["type"], "|"); typ {
		case "int", "int_human":
			_, err = strconv.ParseInt(v, 10, 32)
		case "float":
			_, err = strconv.ParseFloat(v, 64)
		case "json":
			if !json.Valid([]byte(v)) {
				err = fmt.Errorf("%q is not JSON", v)
			}
		}
		if err != nil {
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
		args   []string
		ok     bool
	}{
		"Good":         {"What vLLM takes should pass.", []string{"m", "--max-model-len", "8192", "--trust-remote-code", "--no-enable-prefix-caching", "--dtype=auto", "--served-model-name", "a", "b"}, true},
		"ModelMissing": {"The model must come first.", []string{"--max-model-len", "8192"}, false},
		"Unknown":      {"A flag of another engine should not pass.", []string{"m", "--context-length", "8192"}, false},
		"Removed":      {"A flag that was removed should not pass.", []string{"m", "--swap-space", "16"}, false},
		"BoolValue":    {"A switch followed by true should not pass.", []string{"m", "--trust-remote-code", "true"}, false},
		"BoolEquals":   {"A switch with a value should not pass.", []string{"m", "--enable-prefix-caching=true"}, false},
		"NoValue":      {"A flag without its value should not pass.", []string{"m", "--max-model-len", "--enforce-eager"}, false},
		"Choice":       {"A value that is not among the choices should not pass.", []string{"m", "--dtype", "float8_e4m3"}, false},
		"Validated":    {"A value that vLLM refuses later should not pass.", []string{"m", "--attention-backend", "FAST"}, false},
		"Type":         {"A value of another type should not pass.", []string{"m", "--block-size", "large"}, false},
		"Twice":        {"A flag that is given twice should not pass.", []string{"m", "--port", "1", "--port", "2"}, false},
		"TwoValues":    {"A second value should not pass.", []string{"m", "--port", "1", "2"}, false},
	}
	flags := flagTable(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := parse(flags, tc.args); (err == nil) != tc.ok {
				t.Errorf("\n%s\nparse(%q): got error %v", tc.reason, tc.args, err)
			}
		})
	}
}

// TestBuiltinCommands parses the whole command of every built-in recipe, for
// every GPU count.
func TestBuiltinCommands(t *testing.T) {
	flags := flagTable(t)
	ids, err := recipe.BuiltinModels()
	if err != nil {
		t.Fatalf("recipe.BuiltinModels(): %v", err)
	}
	commands := 0
	for _, id := range ids {
		recipes, err := recipe.Builtin(id)
		if err != nil {
			t.Fatalf("recipe.Builtin(%q): %v", id, err)
		}
		for _, r := range recipes {
			if r.Backend != "vllm" {
				continue
			}
			for _, c := range r.Configurations {
				commands++
				e, _ := engine.Lookup(r.Backend)
				a, _ := gpu.Lookup(r.Hardware)
				args := e.Args(engine.Server{Model: r.Model, Revision: "main", TensorParallelSize: c.GPUCount, Accelerator: a, Args: c.Args})
				args = append(args, e.PortArgs(e.Port)...)
				set, err := parse(flags, args)
				if err != nil {
					t.Errorf("\nvLLM should take the command of every built-in recipe.\n%s on %d GPUs: %s: %v", r.Name, c.GPUCount, strings.Join(args, " "), err)
					continue
				}
				if tp := set["--tensor-parallel-size"]; !slices.Equal(tp, []string{strconv.Itoa(int(c.GPUCount))}) {
					t.Errorf("\nAll GPUs should be used.\n%s on %d GPUs: --tensor-parallel-size %q", r.Name, c.GPUCount, tp)
				}
				for _, own := range []string{"--model", "--served-model-name", "--revision", "--tensor-parallel-size", "-tp", "--host", "--port"} {
					if _, ok := engine.FlagValue(c.Args, own); ok {
						t.Errorf("\nA recipe should not set what the platform sets itself.\n%s: has %s", r.Name, own)
					}
				}
			}
		}
	}
	if commands == 0 {
		t.Error("There should be built-in recipes of vLLM.")
	}
}
