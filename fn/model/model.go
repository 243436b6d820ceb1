// Package model knows facts of models, and whether a model fits into the
// memory of a GPU. The facts of a model are one YAML file in facts/.
package model

import (
	"embed"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/crossplane/function-sdk-go/errors"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

//go:embed facts/*.yaml
var files embed.FS

const gib = 1 << 30

// Facts of a model, as its publisher gives them.
type Facts struct {
	// ID on the Hugging Face Hub.
	ID string `json:"id"`
	// Source of these facts.
	Source string `json:"source"`
	// Checkpoint is the precision of the published weights.
	Checkpoint v1alpha1.Precision `json:"checkpoint"`
	// ParametersBillion is all parameters, in 10^9: of a mixture of experts
	// all experts count, since all are in memory.
	ParametersBillion float64 `json:"parametersBillion"`
	// ActiveParametersBillion that one token uses; all of them if 0.
	ActiveParametersBillion float64 `json:"activeParametersBillion,omitempty"`
	// Layers of the transformer.
	Layers int64 `json:"layers"`
	// HiddenSize of the transformer.
	HiddenSize int64 `json:"hiddenSize"`
	// VocabSize of the embeddings.
	VocabSize int64 `json:"vocabSize"`
	// AttentionHeads of a layer, for queries. Tensor parallelism must divide it.
	AttentionHeads int64 `json:"attentionHeads"`
	// KVHeads of a layer, for keys and values; 0 if there are none to share
	// among GPUs, as with multi-head latent attention.
	KVHeads int64 `json:"kvHeads"`
	// HeadDim is the size of one head.
	HeadDim int64 `json:"headDim"`
	// MaxContextLength that the model was made for, in tokens.
	MaxContextLength int64 `json:"maxContextLength"`
	// WeightsGiB by precision, in GiB, where the general formula does not
	// hold, such as for checkpoints that mix precisions.
	WeightsGiB map[v1alpha1.Precision]float64 `json:"weightsGiB,omitempty"`
	// KVBytesPerToken of the key-value cache at 16 bit, over all layers, where
	// the general formula does not hold, as with multi-head latent attention.
	KVBytesPerToken int64 `json:"kvBytesPerToken,omitempty"`
}

// Lookup facts of a model. It returns false if they are not known.
func Lookup(id string) (Facts, bool, error) {
	all, err := load()
	if err != nil {
		return Facts{}, false, err
	}
	f, ok := all[id]
	return f, ok, nil
}

// Find facts of a model, as those who can do without them take them: nil if they
// are not known.
func Find(id string) (*Facts, error) {
	f, ok, err := Lookup(id)
	if err != nil || !ok {
		return nil, err
	}
	return &f, nil
}

// IDs of all models with known facts, sorted.
func IDs() ([]string, error) {
	all, err := load()
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(all))
	for id := range all {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

//nolint:gochecknoglobals // A cache of a pure result: the embedded files never change.
var load = sync.OnceValues(func() (map[string]Facts, error) {
	names, err := fs.Glob(files, "facts/*.yaml")
	if err != nil {
		return nil, errors.Wrap(err, "cannot list model facts")
	}
	all := make(map[string]Facts, len(names))
	for _, n := range names {
		b, err := files.ReadFile(n)
		if err != nil {
			return nil, errors.Wrapf(err, "cannot read model facts %s", n)
		}
		f := Facts{}
		if err := yaml.UnmarshalStrict(b, &f); err != nil {
			return nil, errors.Wrapf(err, "cannot parse model facts %s", n)
		}
		if _, ok := all[f.ID]; ok {
			return nil, errors.Errorf("model %s has facts twice, in %s too", f.ID, n)
		}
		all[f.ID] = f
	}
	return all, nil
})

// bytesPerParameter of a weight. int4 carries scales of its groups, 0.53
// bytes in all.
func bytesPerParameter(p v1alpha1.Precision) (float64, bool) {
	switch p {
	case "bfloat16", "float16":
		return 2, true
	case "float8", "int8":
		return 1, true
	case "int4":
		return 0.53, true
	}
	return 0, false
}

// Weights of the model in a precision, in GiB. Embeddings and the output layer
// stay at 16 bit. It returns false if the size in that precision is not known.
func (f Facts) Weights(p v1alpha1.Precision) (float64, bool) {
	if w := f.WeightsGiB[p]; positive(w) {
		return w, true
	}
	b, ok := bytesPerParameter(p)
	if !ok || !positive(f.ParametersBillion) {
		return 0, false
	}
	parameters := f.ParametersBillion * 1e9
	embeddings := min(parameters, 2*float64(max(0, f.VocabSize))*float64(max(0, f.HiddenSize)))
	return ((parameters-embeddings)*b + embeddings*2) / gib, true
}

// CacheBytesPerToken of the key-value cache at 16 bit, over all layers; 0 if it
// is not known.
func (f Facts) CacheBytesPerToken() float64 {
	if f.KVBytesPerToken > 0 {
		return float64(f.KVBytesPerToken)
	}
	return 2 * float64(max(0, f.Layers)) * float64(max(0, f.KVHeads)) * float64(max(0, f.HeadDim)) * 2
}

// DividesInto says whether tensor parallelism of n GPUs is possible: the
// attention heads must be divisible by it, and the KV heads by it or it by
// them (vLLM's and SGLang's own rule). It is if the heads are not known.
func (f Facts) DividesInto(n int32) bool {
	tp := int64(n)
	if tp < 1 || f.AttentionHeads <= 0 {
		return tp >= 1
	}
	if f.AttentionHeads%tp != 0 {
		return false
	}
	return f.KVHeads <= 0 || f.KVHeads%tp == 0 || tp%f.KVHeads == 0
}

// positive says whether a number is one that can be computed with.
func positive(v float64) bool {
	return v > 0 && !math.IsInf(v, 1)
}

// Slug of a model id: a DNS label of at most max characters. Different ids may
// have the same slug.
func Slug(id string, maxLen int) string {
	_, name, ok := strings.Cut(id, "/")
	if !ok {
		name = id
	}
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if (r >= 'a' && r <= 'z') || (r >= '0' && r <= '9') {
			b.WriteRune(r)
			continue
		}
		b.WriteByte('-')
	}
	s := b.String()
	if len(s) > maxLen {
		s = s[:maxLen]
	}
	return strings.Trim(s, "-")
}
