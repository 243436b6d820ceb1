package engine

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// whitespace between arguments.
const whitespace = " \t\r\n\v\f"

// negative is what Python's argparse takes for a value, though it begins as a
// flag does.
var negative = regexp.MustCompile(`^-(\d+|\d*\.\d+)$`)

// isFlag says whether a parser takes an argument for a flag.
func isFlag(a string) bool {
	return len(a) > 1 && a[0] == '-' && !negative.MatchString(a)
}

// fields of an argument that holds several. It splits at white space, as a
// shell does, but keeps JSON and what is quoted in one piece.
func fields(s string) []string {
	var out []string
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		name := ""
		if isFlag(s) {
			// --flag='{"a": 1}' has white space in its value.
			if i := strings.IndexAny(s, "="+whitespace); i >= 0 && s[i] == '=' {
				name, s = s[:i+1], s[i+1:]
			}
		}
		value, rest := firstField(s)
		out = append(out, name+value)
		s = rest
	}
	return out
}

func firstField(s string) (value, rest string) {
	if s == "" {
		return "", ""
	}
	switch s[0] {
	case '{', '[':
		var raw json.RawMessage
		d := json.NewDecoder(strings.NewReader(s))
		if err := d.Decode(&raw); err != nil {
			// It is no JSON, which whoever takes it as a value will say.
			return s, ""
		}
		return string(raw), s[d.InputOffset():]
	case '\'', '"':
		if i := strings.IndexByte(s[1:], s[0]); i >= 0 {
			return s[1 : i+1], s[i+2:]
		}
	}
	if i := strings.IndexAny(s, whitespace); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// holdsSeveral says whether an argument is a flag together with its value, or
// with another flag.
func holdsSeveral(a string) bool {
	if !isFlag(a) {
		return false
	}
	i := strings.IndexAny(a, "="+whitespace)
	if i < 0 {
		return false
	}
	if a[i] != '=' {
		return true
	}
	// A value after an equals sign may well have white space in it.
	return slices.ContainsFunc(fields(a)[1:], func(f string) bool { return strings.HasPrefix(f, "--") })
}

// commandWords are what the platform starts an engine with.
//
//nolint:gochecknoglobals // A constant that Go cannot express as such.
var commandWords = []string{
	"vllm", "serve", "python", "python3", "-m", "sglang",
	"vllm.entrypoints.openai.api_server", "sglang.launch_server",
}

// cutCommand returns the arguments after those that repeat the command.
func cutCommand(args []string) (command, rest []string) {
	for i, a := range args {
		words := strings.Fields(a)
		n := 0
		for n < len(words) && slices.Contains(commandWords, words[n]) && (words[n] != "-m" || len(command)+n > 0) {
			n++
		}
		command = append(command, words[:n]...)
		if n < len(words) {
			if n == 0 {
				return command, args[i:]
			}
			return command, slices.Concat(words[n:], args[i+1:])
		}
	}
	return command, nil
}

// shortened text for a message, in valid UTF-8.
func shortened(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
