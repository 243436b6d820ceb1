package endpoint

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxMessage of a condition, in bytes: the API server takes 32 KiB, but a
	// person reads a few lines, and the status travels with each request.
	MaxMessage = 1000
	// maxQuote of what others say, so that the advice after it is never cut.
	maxQuote = 400
	// maxLog that is looked at. A kubelet keeps 4 KiB at most.
	maxLog = 8 << 10
)

// What makes two crashes with the same cause look different, or must not be
// shown to everybody who may read the endpoint.
var (
	escapes    = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])`)
	logPrefix  = regexp.MustCompile(`(?m)^(?:\([\w ]+ pid=\d+[^)\n]*\) ?|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) [\d-]+ [\d:.,]+ \[[^\]\n]*\] ?|\[[\d-]+ [\d:.,]+[^\]\n]*\] ?|\[rank\d+\]: ?)+`)
	volatile   = regexp.MustCompile(` \(Request ID: [^)\n]*\)| at 0x[0-9a-f]+`)
	secretText = regexp.MustCompile(`\bhf_\w{8,}|(?i:\bbearer\s+|--[\w-]*(?:key|token)s?[= ]+|\b(?:api[-_]?key|token|password)['"]?\s*[=:]\s*)[\w.~+/-]{16,}|(?i:\b(?:api[-_]?key|token|password)['"]?\s*[=:]\s*\[?)(?:'[^'\n]+'|"[^"\n]+")`)
	// noise is what Python and PyTorch print around an error, and after it.
	noise = regexp.MustCompile(`(?m)^(?:[\s~^]*|.*(?:ProcessGroupNCCL\.cpp|resource_tracker).*)$\n?`)

	pullPrefix = regexp.MustCompile(`^Back-off pulling image "[^"]*": (?:ErrImagePull: )?`)
	pullNoise  = regexp.MustCompile(`rpc error: code = \w+ desc = |failed to (?:pull and unpack image|pull image|resolve reference|resolve image) "[^"]*": `)
)

// clean a log: without colors, and without what changes from crash to crash.
func clean(s string) string {
	if len(s) > maxLog {
		s = s[len(s)-maxLog:]
	}
	s = printable(s)
	s = logPrefix.ReplaceAllString(s, "")
	s = volatile.ReplaceAllString(s, "")
	return secretText.ReplaceAllString(s, "(secret)")
}

// printable text: no colors, no other control characters but ends of lines, and
// of a progress bar, which overwrites itself, only what was last to be seen.
func printable(s string) string {
	s = escapes.ReplaceAllString(strings.ToValidUTF8(s, "?"), "")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	if strings.Contains(s, "\r") {
		lines := strings.Split(s, "\n")
		for i, l := range lines {
			lines[i] = l[strings.LastIndex(strings.TrimRight(l, "\r"), "\r")+1:]
		}
		s = strings.Join(lines, "\n")
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, s)
}

// pullMessage without what a kubelet puts before the error, which is different
// each time that it looks, and without the image's name over and over.
func pullMessage(s string) string {
	return pullNoise.ReplaceAllString(pullPrefix.ReplaceAllString(s, ""), "")
}

// quote what somebody else says, in one line, and not too long.
func quote(s string) string {
	s = strings.Join(strings.Fields(printable(s)), " ")
	if len(s) > maxQuote {
		s = strings.ToValidUTF8(s[:maxQuote], "") + "..."
	}
	return s
}

// lastLines of a log that is clean: the error is at its end.
func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(noise.ReplaceAllString(s, "")), "\n")
	if len(lines) > 5 {
		lines = lines[len(lines)-5:]
	}
	s = strings.Join(lines, "\n")
	const most = MaxMessage * 2 / 3
	if len(s) > most {
		s = "..." + strings.ToValidUTF8(s[len(s)-most:], "")
	}
	return s
}

// Bound a message, and make it valid UTF-8: protobuf takes nothing else.
func Bound(s string) string {
	s = printable(s)
	if len(s) <= MaxMessage {
		return s
	}
	s = s[:MaxMessage]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + "..."
}

func firstOf(s ...string) string {
	for _, v := range s {
		if v = strings.TrimSpace(v); v != "" {
			return v
		}
	}
	return "no message"
}
