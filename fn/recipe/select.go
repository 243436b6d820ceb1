package recipe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
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
		if c, ok := wished(r, want, facts); ok {
			cands = append(cands, c)
		}
	}
	shadow(cands)

	if want.GPUCount != 0 {
		// What is recommended is of no interest to somebody who knows better: some
		// old hardware would win for that alone.
		for i := range cands {
			cands[i].Configuration.Recommended = false
		}
	}
	cs := criteria(want.Objective)
	slices.SortFunc(cands, order(cs))

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
				c.Message = cr.why(*best, *c)
				break
			}
		}
	}
	best.Message = fmt.Sprintf("best for %s", objective(want.Objective))
	d.Selected, d.Reason = best, v1alpha1.ReasonSelected
	d.Message = summary(cands, eligible, want)
	return d
}

// wished is the candidate that a recipe has none of, because a model does not
// fit into the memory of as many GPUs as are asked for. It tells why.
func wished(r Recipe, want Constraints, facts *model.Facts) (Candidate, bool) {
	has := func(c Configuration) bool { return c.GPUCount == want.GPUCount }
	if want.GPUCount == 0 || len(r.Configurations) == 0 || slices.ContainsFunc(r.Configurations, has) {
		return Candidate{}, false
	}
	c := slices.MinFunc(r.Configurations, func(a, b Configuration) int { return int(a.GPUCount) - int(b.GPUCount) })
	c.GPUCount, c.Recommended, c.Performance = want.GPUCount, false, Performance{}
	cand := judge(r, c, want, facts)
	return cand, cand.Reason == reasonInsufficientMemory
}

// shadow the recipes for which there is one of the same kind from a source of
// higher precedence that can run.
func shadow(cands []Candidate) {
	type kind struct {
		hardware  v1alpha1.Hardware
		precision v1alpha1.Precision
		backend   v1alpha1.Backend
	}
	of := func(c Candidate) kind { return kind{c.Recipe.Hardware, c.Recipe.Precision, c.Recipe.Backend} }
	highest := map[kind]Source{}
	for _, c := range cands {
		if c.Verdict == VerdictEligible {
			highest[of(c)] = max(highest[of(c)], c.Recipe.Source)
		}
	}
	for i := range cands {
		if c := &cands[i]; c.Verdict == VerdictEligible && c.Recipe.Source < highest[of(*c)] {
			c.Verdict, c.Reason = VerdictRejected, reasonShadowed
			c.Message = "a recipe of your own for the same hardware, precision and backend takes its place"
			if highest[of(*c)] == SourceCluster {
				c.Message = "a recipe of the platform for the same hardware, precision and backend takes its place"
			}
		}
	}
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
	fmt.Fprintf(&b, "chose %s on %s of %s (%s, %s), ",
		best.Recipe.Name, gpus(best.Configuration.GPUCount), best.Recipe.Hardware, best.Recipe.Precision, best.Recipe.Backend)
	if len(cands) == 1 {
		b.WriteString("the only candidate")
	} else {
		fmt.Fprintf(&b, "the best of %d candidates for %s", len(cands), objective(want.Objective))
	}
	if eligible > 1 {
		fmt.Fprintf(&b, "; next best is %s on %s of %s, which lost because %s", cands[1].Recipe.Name, gpus(cands[1].Configuration.GPUCount), cands[1].Recipe.Hardware, cands[1].Message)
	}
	switch n := len(cands) - eligible; n {
	case 0:
	case 1:
		b.WriteString("; 1 cannot run here or does not meet the constraints")
	default:
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
		where := "spec.recipe"
		if want.GPUCount != 0 {
			where = "spec.recipe or spec.resources.gpuCount"
		}
		return v1alpha1.ReasonNoRecipeMatches, fmt.Sprintf("no recipe for model %q has %s; there is %s; change or remove the constraints in %s",
			want.Model, asked(want), offered(cands), where)
	}

	reason, advice := v1alpha1.ReasonNoRecipeMatches, "change the constraints in spec.recipe"
	nearest := near[0]
	memory := slices.DeleteFunc(slices.Clone(near), func(c Candidate) bool { return c.Reason != reasonInsufficientMemory })
	switch {
	case len(memory) > 0:
		reason = v1alpha1.ReasonInsufficientGPUMemory
		// The first of those that lack the least.
		nearest = slices.MinFunc(memory, func(a, b Candidate) int { return cmp.Compare(lacks(a), lacks(b)) })
		advice = "use hardware with more memory, or a smaller model"
		if want.GPUCount != 0 {
			advice = "ask for more GPUs or hardware with more memory, or use a smaller model"
		}
	case nearest.Reason == reasonNotInInventory, nearest.Reason == reasonMoreGPUsThanAnyNode:
		advice = "add such nodes, or correct the inventory that the platform team has set for the Composition"
	}
	return reason, fmt.Sprintf("no recipe for model %q can run; nearest is %s on %s of %s, but %s; %s",
		want.Model, nearest.Recipe.Name, gpus(nearest.Configuration.GPUCount), nearest.Recipe.Hardware, nearest.Message, advice)
}

// lacks says how much memory a candidate lacks on each GPU, in GiB.
func lacks(c Candidate) float64 {
	return c.Fit.RequiredGiB - c.Fit.AvailableGiB
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
	return list(s, "and")
}

// offered says what the candidates have: not each value by itself, which would
// promise combinations that there are not.
func offered(cands []Candidate) string {
	counts := map[string][]int32{}
	for _, c := range cands {
		k := fmt.Sprintf("%s (%s, %s)", c.Recipe.Hardware, c.Recipe.Precision, c.Recipe.Backend)
		if n := c.Configuration.GPUCount; !slices.Contains(counts[k], n) {
			counts[k] = append(counts[k], n)
		}
	}
	const most = 6
	var s []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		if len(s) == most {
			s = append(s, fmt.Sprintf("%d more", len(counts)-most))
			break
		}
		slices.Sort(counts[k])
		ns := make([]string, 0, len(counts[k]))
		for _, n := range counts[k] {
			ns = append(ns, strconv.Itoa(int(n)))
		}
		unit := "GPUs"
		if len(counts[k]) == 1 && counts[k][0] == 1 {
			unit = "GPU"
		}
		s = append(s, fmt.Sprintf("%s on %s %s", k, list(ns, "or"), unit))
	}
	return list(s, "and")
}

// list joins words the way a person does: a, b and c.
func list(s []string, last string) string {
	if len(s) < 2 {
		return strings.Join(s, "")
	}
	return strings.Join(s[:len(s)-1], ", ") + " " + last + " " + s[len(s)-1]
}
