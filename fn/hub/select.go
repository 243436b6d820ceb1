package hub

import (
	"path"
	"slices"
	"strings"
)

// wanted is what vLLM and SGLang read of a model: its weights, configuration,
// tokenizer, chat templates, and the code of those models that bring their own.
func wanted() []string {
	return []string{
		"*.safetensors", "*.json", "*.jinja", "*.py",
		"tokenizer*", "*.model", "*.tiktoken", "vocab*.txt", "merges.txt",
	}
}

// unwanted are copies of the weights for other programs that many a model has in
// a directory of its own.
func unwanted() []string {
	return []string{"original/*", "onnx/*", "openvino/*", "coreml/*", "metal/*", "gguf/*"}
}

// pickled weights are wanted of those models that have no others.
func pickled() []string { return []string{"*.bin", "*.pt"} }

// training is what a trainer leaves, which is of no use to a server.
func training() []string {
	return []string{"training_args.bin", "optimizer.*", "scheduler.*", "*/training_args.bin", "*/optimizer.*", "*/scheduler.*"}
}

// A Selection of files by patterns, in which * stands for any characters,
// slashes as well, as in huggingface_hub.
type Selection struct {
	// Include instead of what the engines need.
	Include []string `json:"include,omitempty"`
	// Exclude of what is included.
	Exclude []string `json:"exclude,omitempty"`
}

// Equal returns whether two selections are the same.
func (s Selection) Equal(o Selection) bool {
	return slices.Equal(s.Include, o.Include) && slices.Equal(s.Exclude, o.Exclude)
}

// Valid returns an error if there is a pattern that cannot be.
func (s Selection) Valid() error {
	for _, p := range slices.Concat(s.Include, s.Exclude) {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return final(ReasonInvalid, "%q is not a pattern of file names", p)
		}
	}
	return nil
}

// Of files.
func (s Selection) Of(files []File) []File {
	include, exclude := s.Include, s.Exclude
	if len(include) == 0 {
		include = wanted()
		exclude = slices.Concat(exclude, unwanted())
		if !slices.ContainsFunc(files, func(f File) bool {
			return strings.HasSuffix(f.Path, ".safetensors") && !matches(unwanted(), f.Path)
		}) {
			include = slices.Concat(include, pickled())
			exclude = slices.Concat(exclude, training())
		}
	}
	var out []File
	for _, f := range files {
		if matches(include, f.Path) && !matches(exclude, f.Path) {
			out = append(out, f)
		}
	}
	return out
}

func matches(patterns []string, name string) bool {
	// To path.Match a slash is special. Here it isn't.
	plain := strings.NewReplacer("/", "\x00")
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(plain.Replace(p), plain.Replace(name))
		return err == nil && ok
	})
}
