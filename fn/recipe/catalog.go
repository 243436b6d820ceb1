package recipe

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/crossplane/function-sdk-go/errors"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/model"
)

//go:embed catalog/*.yaml
var files embed.FS

// A catalogFile holds the built-in recipes of one model: what differs from what
// the engine and the hardware need anyway, which the engine package knows.
type catalogFile struct {
	Model string `json:"model"`
	// Args and Env of all recipes, before their own.
	Args    []string        `json:"args"`
	Env     []corev1.EnvVar `json:"env"`
	Recipes []catalogEntry  `json:"recipes"`
}

// A catalogEntry is one recipe for each of its hardware.
type catalogEntry struct {
	Hardware  []v1alpha1.Hardware `json:"hardware"`
	Precision v1alpha1.Precision  `json:"precision"`
	Backend   v1alpha1.Backend    `json:"backend"`
	// GPUCounts into which the model divides and fits, and which of them to
	// prefer.
	GPUCounts   []int32         `json:"gpuCounts"`
	Recommended int32           `json:"recommended"`
	Args        []string        `json:"args"`
	Env         []corev1.EnvVar `json:"env"`
	// Performance that was published, for some of the GPU counts.
	Performance []catalogPerformance `json:"performance"`
}

// A catalogPerformance is what was published for one GPU count.
type catalogPerformance struct {
	Performance

	GPUCount int32 `json:"gpuCount"`
}

// Builtin recipes of a model, by name. There are none if the model is not in
// the catalog.
func Builtin(modelID string) ([]Recipe, error) {
	all, err := load()
	if err != nil {
		return nil, err
	}
	return all[modelID], nil
}

// BuiltinModels are the ids of all models in the catalog, sorted.
func BuiltinModels() ([]string, error) {
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
var load = sync.OnceValues(func() (map[string][]Recipe, error) {
	names, err := fs.Glob(files, "catalog/*.yaml")
	if err != nil {
		return nil, errors.Wrap(err, "cannot list built-in recipes")
	}
	all := make(map[string][]Recipe, len(names))
	for _, n := range names {
		b, err := files.ReadFile(n)
		if err != nil {
			return nil, errors.Wrapf(err, "cannot read built-in recipes %s", n)
		}
		f := catalogFile{}
		if err := yaml.UnmarshalStrict(b, &f); err != nil {
			return nil, errors.Wrapf(err, "cannot parse built-in recipes %s", n)
		}
		if _, ok := all[f.Model]; ok {
			return nil, errors.Errorf("model %s has built-in recipes twice, in %s too", f.Model, n)
		}
		rs, err := f.recipes()
		if err != nil {
			return nil, errors.Wrapf(err, "cannot use built-in recipes %s", n)
		}
		all[f.Model] = rs
	}
	return all, nil
})

func (f catalogFile) recipes() ([]Recipe, error) {
	rs := make([]Recipe, 0, len(f.Recipes))
	for _, e := range f.Recipes {
		published := map[int32]Performance{}
		for _, p := range e.Performance {
			if !slices.Contains(e.GPUCounts, p.GPUCount) {
				return nil, errors.Errorf("there is a performance for %s, but no such configuration", gpus(p.GPUCount))
			}
			published[p.GPUCount] = p.Performance
		}
		for _, hw := range e.Hardware {
			r := Recipe{
				Name:      fmt.Sprintf("%s-%s-%s-%s", model.Slug(f.Model, 63), strings.ToLower(string(hw)), e.Precision, e.Backend),
				Source:    SourceBuiltin,
				Model:     f.Model,
				Hardware:  hw,
				Precision: e.Precision,
				Backend:   e.Backend,
			}
			for _, n := range e.GPUCounts {
				r.Configurations = append(r.Configurations, Configuration{
					GPUCount:    n,
					Recommended: n == e.Recommended,
					Args:        slices.Concat(f.Args, e.Args),
					Env:         slices.Concat(f.Env, e.Env),
					Resources:   DefaultResources(n),
					Performance: published[n],
				})
			}
			rs = append(rs, r)
		}
	}
	slices.SortFunc(rs, func(a, b Recipe) int { return strings.Compare(a.Name, b.Name) })
	return rs, nil
}

// DefaultResources of a replica with n GPUs, GPUs not among them. Each GPU's
// worker keeps a core busy and loads its part of the weights through host
// memory. There are no limits: a server that is throttled or killed at peak
// wastes GPUs that cost far more.
func DefaultResources(n int32) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(4*int64(n), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(32*int64(n)<<30, resource.BinarySI),
	}}
}
