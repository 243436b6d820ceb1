package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/gpu"
	"github.com/aim-engine/function-aim/fn/model"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/recipe"
)

// catalogCmd lists the built-in recipes.
type catalogCmd struct {
	Models []string `arg:""          help:"Ids of models to list recipes of; all if there are none." optional:""`
	Output string   `default:"table" enum:"table,yaml,choices"                                       help:"What to print: table lists the recipes, yaml prints them as AIMRecipes to copy and change, choices tells which one each objective takes on each hardware." short:"o"`
}

// Run prints the built-in recipes.
func (c *catalogCmd) Run() error {
	return c.run(os.Stdout)
}

func (c *catalogCmd) run(w io.Writer) error {
	all, err := recipe.BuiltinModels()
	if err != nil {
		return err
	}
	ids := all
	if len(c.Models) > 0 {
		ids = c.Models
	}
	rows := [][]string{}
	for _, id := range ids {
		rs, err := recipe.Builtin(id)
		if err != nil {
			return err
		}
		if len(rs) == 0 {
			return errors.Errorf("there is no built-in recipe for model %q; there are some for %s", id, strings.Join(all, ", "))
		}
		switch c.Output {
		case "yaml":
			for _, r := range rs {
				if err := printRecipe(w, r); err != nil {
					return err
				}
			}
		case "choices":
			more, err := choices(id, rs)
			if err != nil {
				return err
			}
			rows = append(rows, more...)
		default:
			for _, r := range rs {
				rows = append(rows, []string{id, r.Name, string(r.Hardware), string(r.Precision), string(r.Backend), counts(r)})
			}
		}
	}
	switch c.Output {
	case "yaml":
		return nil
	case "choices":
		return table(w, append([][]string{{"MODEL", "HARDWARE", "THROUGHPUT", "LATENCY", "COST"}}, rows...))
	}
	return table(w, append([][]string{{"MODEL", "RECIPE", "HARDWARE", "PRECISION", "BACKEND", "GPUS"}}, rows...))
}

// counts of GPUs that a recipe runs on, the recommended one with a star.
func counts(r recipe.Recipe) string {
	s := make([]string, 0, len(r.Configurations))
	for _, c := range r.Configurations {
		n := strconv.Itoa(int(c.GPUCount))
		if c.Recommended {
			n += "*"
		}
		s = append(s, n)
	}
	return strings.Join(s, ",")
}

// choices that each objective makes on each hardware.
func choices(id string, rs []recipe.Recipe) ([][]string, error) {
	f, err := model.Find(id)
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, a := range gpu.All() {
		row := []string{id, string(a.Name)}
		for _, o := range []v1alpha1.Objective{v1alpha1.ObjectiveThroughput, v1alpha1.ObjectiveLatency, v1alpha1.ObjectiveCost} {
			d := recipe.Select(rs, recipe.Constraints{Model: id, Hardware: a.Name, Objective: o}, f)
			cell := "-"
			if c := d.Selected; c != nil {
				cell = fmt.Sprintf("%d, %s, %s", c.Configuration.GPUCount, c.Recipe.Precision, c.Recipe.Backend)
			}
			row = append(row, cell)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// printRecipe as an AIMRecipe.
func printRecipe(w io.Writer, r recipe.Recipe) error {
	m, err := object.Manifest(manifestOf(r))
	if err != nil {
		return errors.Wrapf(err, "cannot convert recipe %s", r.Name)
	}
	// There is no creation timestamp before there is an object.
	b, err := yaml.Marshal(m)
	if err != nil {
		return errors.Wrapf(err, "cannot marshal recipe %s", r.Name)
	}
	_, err = fmt.Fprintf(w, "---\n%s", b)
	return errors.Wrap(err, "cannot write")
}

// manifestOf a built-in recipe.
func manifestOf(r recipe.Recipe) *v1alpha1.AIMRecipe {
	out := &v1alpha1.AIMRecipe{
		ObjectMeta: metav1.ObjectMeta{Name: r.Name},
		Spec:       v1alpha1.AIMRecipeSpec{ModelID: r.Model, Hardware: r.Hardware, Precision: r.Precision, Backend: r.Backend, Priority: int32(r.Priority)}, //nolint:gosec // Small, by its schema.
	}
	out.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.KindAIMRecipe))
	for _, c := range r.Configurations {
		cfg := v1alpha1.RecipeConfiguration{
			GPUCount: c.GPUCount, Args: slices.Clone(c.Args), Env: slices.Clone(c.Env),
			Resources: &v1alpha1.RecipeResources{Requests: c.Resources.Requests, Limits: c.Resources.Limits},
		}
		if p := c.Performance; p.TokensPerSecond > 0 {
			cfg.Performance = &v1alpha1.RecipePerformance{ExpectedTokensPerSecond: ptr.To(p.TokensPerSecond)}
		}
		out.Spec.Configurations = append(out.Spec.Configurations, cfg)
	}
	return out
}
