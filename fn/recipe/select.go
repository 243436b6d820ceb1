package recipe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/model"
)

// A Decision is the outcome of a choice.
type Decision struct {
	// Selected candidate; nil if none can run.
	Selected *Candidate
	// Candidates that were judged, best first, rejected ones last.
	Candidates []Candidate
	// Reason of the outcome, as the condition RecipeSelected has it.
	Reason v1alpha1.ConditionReason
	// Message for people: what was chosen, from how many, and why; or what was
	// needed, what there was, and what to change.
	Message string
}

// Select the best of the recipes of a model under the constraints. Facts of
// the model are nil if they are not known: then memory is not checked.
func Select(recipes []Recipe, want Constraints, facts *model.Facts) Decision {
	want.Precision = Canonical(want.Precision)

	cands := []Candidate{}
	for _, r := range recipes {
		if r.Model != want.Model {
			continue
		}
		r.Precision = Canonical(r.Precision)
		for _, c := range r.Configurations {
			cands = append(cands, judge(r, c, want, facts))
		}
	}

	cs := criteria(want.Objective)
	slices.SortFunc(cands, func(a, b Candidate) int {
		if a.Verdict != b.Verdict {
			return strings.Compare(string(a.Verdict), string(b.Verdict)) // Eligible before Rejected.
		}
		for _, c := range cs {
			if v := c.compare(a, b); v != 0 {
				return v
			}
		}
		return 0
	})

	d := Decision{Candidates: cands}
	if len(cands) == 0 {
		d.Reason, d.Message = v1alpha1.ReasonNoRecipeForModel, fmt.Sprintf("there is no recipe for model %q", want.Model)
		return d
	}
	if cands[0].Verdict != VerdictEligible {
		d.Reason, d.Message = explainNone(cands, want)
		return d
	}

	best := &cands[0]
	best.Verdict, best.Reason = VerdictSelected, reasonBest
	eligible := 1
	for i := range cands[1:] {
		c := &cands[i+1]
		if c.Verdict != VerdictEligible {
			continue
		}
		eligible++
		c.Reason = reasonOutranked
		for _, cr := range cs {
			if cr.compare(*best, *c) != 0 {
				c.Message = cr.lost
				break
			}
		}
	}
	best.Message = fmt.Sprintf("best for %s", objective(want.Objective))
	d.Selected, d.Reason = best, v1alpha1.ReasonSelected
	d.Message = summary(cands, eligible, want)
	return d
}

func objective(o v1alpha1.Objective) string {
	if o == "" {
		o = v1alpha1.ObjectiveThroughput
	}
	return strings.ToLower(string(o))
}

// summary says in one sentence what was chosen, from how many, and why the
// others lost.
func summary(cands []Candidate, eligible int, want Constraints) string {
	best := cands[0]
	var b strings.Builder
	fmt.Fprintf(&b, "chose %s on %s of %s (%s, %s) as best for %s of %d candidates",
		best.Recipe.Name, gpus(best.Configuration.GPUCount), best.Recipe.Hardware, best.Recipe.Precision, best.Recipe.Backend, objective(want.Objective), len(cands))
	if eligible > 1 {
		fmt.Fprintf(&b, "; next best is %s on %s of %s, which lost because %s", cands[1].Recipe.Name, gpus(cands[1].Configuration.GPUCount), cands[1].Recipe.Hardware, cands[1].Message)
	}
	if n := len(cands) - eligible; n > 0 {
		fmt.Fprintf(&b, "; %d cannot run here or do not meet the constraints", n)
	}
	if best.Fit == nil {
		b.WriteString("; whether it fits into GPU memory was not checked, as the model's facts are not known")
	} else if !best.Fit.Fits() {
		fmt.Fprintf(&b, "; the memory check was skipped, though %s", best.Fit)
	}
	return b.String()
}

// explainNone says why no candidate can run, and what to change.
func explainNone(cands []Candidate, want Constraints) (v1alpha1.ConditionReason, string) {
	// The candidates that meet the constraints tell most.
	near := slices.DeleteFunc(slices.Clone(cands), func(c Candidate) bool { return c.Reason == reasonConstraint })
	if len(near) == 0 {
		return v1alpha1.ReasonNoRecipeMatches, fmt.Sprintf("no recipe for model %q has %s; there are recipes with %s: change or remove spec.recipe's constraints",
			want.Model, asked(want), offered(cands))
	}

	memory := slices.ContainsFunc(near, func(c Candidate) bool { return c.Reason == reasonInsufficientMemory })
	reason := v1alpha1.ReasonNoRecipeMatches
	advice := "change spec.recipe's constraints"
	if memory {
		reason = v1alpha1.ReasonInsufficientGPUMemory
		advice = "ask for more GPUs, hardware with more memory, or a smaller model"
	}
	return reason, fmt.Sprintf("no recipe for model %q can run: %s: %s; %s", want.Model, near[0].Recipe.Name, near[0].Message, advice)
}

// asked says which constraints there are.
func asked(want Constraints) string {
	var s []string
	if want.Hardware != "" {
		s = append(s, "hardware "+string(want.Hardware))
	}
	if want.GPUCount != 0 {
		s = append(s, gpus(want.GPUCount))
	}
	if want.Precision != "" {
		s = append(s, "precision "+string(want.Precision))
	}
	if want.Backend != "" {
		s = append(s, "backend "+string(want.Backend))
	}
	return strings.Join(s, ", ")
}

// offered says which values the candidates have.
func offered(cands []Candidate) string {
	sets := make([][]string, 4)
	add := func(i int, v string) {
		if !slices.Contains(sets[i], v) {
			sets[i] = append(sets[i], v)
		}
	}
	for _, c := range cands {
		add(0, string(c.Recipe.Hardware))
		add(1, fmt.Sprint(c.Configuration.GPUCount))
		add(2, string(c.Recipe.Precision))
		add(3, string(c.Recipe.Backend))
	}
	out := make([]string, len(sets))
	for i, name := range []string{"hardware", "GPU counts", "precision", "backend"} {
		slices.Sort(sets[i])
		out[i] = name + " " + strings.Join(sets[i], "/")
	}
	return strings.Join(out, ", ")
}
