package recipe

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/crossplane/function-sdk-go/errors"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
)

// Request for a recipe: what the user wants, and what runs already.
type Request struct {
	Constraints Constraints
	// Revision of the model to serve.
	Revision string
	// Policy for a better recipe than the pinned one.
	Policy v1alpha1.UpgradePolicy
	// Pinned recipe; nil before the first choice.
	Pinned *v1alpha1.SelectedRecipe
	// Tried recipe of a canary; nil if there is none. It is as good as pinned if
	// it was chosen for what the user wants now.
	Tried *v1alpha1.SelectedRecipe
	// Running says whether the pinned recipe's workload serves, or is on its
	// way there: then it is not replaced for anything but a wish of the user.
	Running bool
	// Image returns what the platform runs instead of an engine's image; nil if
	// it never does.
	Image func(c Candidate, image string) string
}

// An Outcome of a request.
type Outcome struct {
	// Recipe to run; nil if there is none, and never was.
	Recipe *v1alpha1.SelectedRecipe
	// Changed says whether the recipe is another than the pinned one.
	Changed bool
	// OK, Reason and Message of the condition RecipeSelected.
	OK      bool
	Reason  v1alpha1.ConditionReason
	Message string
	// UpgradeAvailable is the name of a better recipe than the one to run.
	UpgradeAvailable string
	// Candidates that were judged, best first, at most ten.
	Candidates []v1alpha1.Candidate
}

const maxCandidates = 10

// Settle which recipe runs. Once a recipe was chosen there is always one: what
// runs is replaced by something better, never by nothing.
func Settle(d Decision, r Request) (Outcome, error) {
	key, err := selectionKey(r)
	if err != nil {
		return Outcome{}, err
	}
	fresh, err := snapshot(d, r, key)
	if err != nil {
		return Outcome{}, err
	}

	pinned := r.Pinned
	if t := r.Tried; t != nil && t.Snapshot != nil && t.Snapshot.Selection == key {
		pinned = t
	}
	if pinned != nil && pinned.Snapshot == nil {
		pinned = nil
	}

	switch {
	case pinned == nil && fresh == nil:
		return Outcome{Reason: d.Reason, Message: d.Message, Candidates: candidates(d, nil)}, nil
	case pinned == nil:
		return Outcome{Recipe: fresh, Changed: true, OK: true, Reason: d.Reason, Message: d.Message, Candidates: candidates(d, fresh)}, nil
	case fresh == nil && pinned.Snapshot.Selection != key:
		// The user wants something that cannot be. What runs goes on.
		return Outcome{
			Recipe: pinned, Reason: d.Reason, Candidates: candidates(d, nil),
			Message: fmt.Sprintf("%s; %s keeps running with recipe %s until then", d.Message, pinned.Snapshot.Model, pinned.Name),
		}, nil
	case fresh == nil:
		return kept(d, pinned, fmt.Sprintf("recipe %s could not be chosen again, and keeps running as it is: %s", pinned.Name, d.Message), ""), nil
	}

	same, err := equal(pinned.Snapshot, fresh.Snapshot)
	if err != nil {
		return Outcome{}, err
	}
	same = same && sameConfiguration(pinned, fresh)
	switch {
	case same:
		// The sentence that explained the choice stays, though the candidates
		// it speaks of may have changed.
		return Outcome{Recipe: pinned, OK: true, Reason: v1alpha1.ReasonSelected, Message: pinned.Reason, Candidates: candidates(d, pinned)}, nil
	case pinned.Snapshot.Selection != key, r.Policy == v1alpha1.UpgradeAutomatic:
		return Outcome{Recipe: fresh, Changed: true, OK: true, Reason: d.Reason, Message: d.Message, Candidates: candidates(d, fresh)}, nil
	}

	i := slices.IndexFunc(d.Candidates, func(c Candidate) bool { return isPinned(c, pinned) })
	able := i >= 0 && d.Candidates[i].Verdict != VerdictRejected
	switch {
	case !r.Running && (!able || sameConfiguration(pinned, fresh)):
		// Nothing is lost by it: it cannot be chosen any more, or it has changed,
		// perhaps to mend what keeps it from running.
		return Outcome{Recipe: fresh, Changed: true, OK: true, Reason: d.Reason, Message: d.Message, Candidates: candidates(d, fresh)}, nil
	case !able:
		why := "there is no such recipe any more"
		if i >= 0 {
			why = d.Candidates[i].Message
		}
		return kept(d, pinned, fmt.Sprintf("recipe %s cannot be chosen any more, and keeps running as it is: %s; set recipe.upgradePolicy to Automatic to change to %s", pinned.Name, why, fresh.Name), fresh.Name), nil
	case sameConfiguration(pinned, fresh):
		return kept(d, pinned, fmt.Sprintf("recipe %s has changed since it was chosen, and keeps running as it was; set recipe.upgradePolicy to Automatic to follow changes", pinned.Name), fresh.Name), nil
	}
	return Outcome{
		Recipe: pinned, OK: true, Reason: v1alpha1.ReasonSelected, Message: pinned.Reason,
		UpgradeAvailable: fresh.Name, Candidates: candidates(d, pinned),
	}, nil
}

func kept(d Decision, pinned *v1alpha1.SelectedRecipe, msg, upgrade string) Outcome {
	return Outcome{
		Recipe: pinned, OK: true, Reason: v1alpha1.ReasonKeptPinned, Message: msg,
		UpgradeAvailable: upgrade, Candidates: candidates(d, pinned),
	}
}

// selectionKey identifies what the user asks for. A constraint that is not
// there leaves no trace in it, so that a later version of this program, which
// knows more of them, does not choose again for everybody.
func selectionKey(r Request) (string, error) {
	c := r.Constraints
	b, err := json.Marshal(struct {
		Model           string             `json:"model"`
		Revision        string             `json:"revision,omitempty"`
		Hardware        v1alpha1.Hardware  `json:"hardware,omitempty"`
		Precision       v1alpha1.Precision `json:"precision,omitempty"`
		Backend         v1alpha1.Backend   `json:"backend,omitempty"`
		GPUCount        int32              `json:"gpuCount,omitempty"`
		Objective       string             `json:"objective"`
		SkipMemoryCheck bool               `json:"skipMemoryCheck,omitempty"`
		Custom          *Reference         `json:"customRecipe,omitempty"`
	}{c.Model, r.Revision, c.Hardware, Canonical(c.Precision), c.Backend, c.GPUCount, objective(c.Objective), c.SkipMemoryCheck, c.Custom})
	if err != nil {
		return "", errors.Wrap(err, "cannot marshal constraints")
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}

// snapshot of the selected candidate; nil if there is none.
func snapshot(d Decision, r Request, key string) (*v1alpha1.SelectedRecipe, error) {
	if d.Selected == nil {
		return nil, nil //nolint:nilnil // Nothing was selected, and that is no error.
	}
	c := *d.Selected
	s := c.server(r.Revision)
	// Where the engine has no image, the recipe brings one of its own.
	image, _ := c.Engine.Image(c.Accelerator)
	if r.Image != nil {
		image = r.Image(c, image)
	}
	image = engine.ReplaceImage(image, c.Recipe.Image.Repository, c.Recipe.Image.Tag)
	if image == "" {
		return nil, errors.Errorf("recipe %s was selected though there is no image of %s for %s", c.Recipe.Name, c.Recipe.Backend, c.Recipe.Hardware)
	}
	out := &v1alpha1.SelectedRecipe{
		Name:      c.Recipe.Name,
		Namespace: c.Recipe.Namespace,
		Source:    c.Recipe.Source.String(),
		Hardware:  c.Recipe.Hardware,
		GPUCount:  c.Configuration.GPUCount,
		Precision: c.Recipe.Precision,
		Backend:   c.Recipe.Backend,
		Image:     image,
		Reason:    d.Message,
		Snapshot: &v1alpha1.Snapshot{
			Selection: key,
			Model:     c.Recipe.Model,
			Revision:  r.Revision,
			Image:     image,
			Command:   c.Engine.Command,
			Args:      c.Engine.Args(s),
			Env:       engine.MergeEnv(c.Engine.Env(s), c.Configuration.Env),
			Port:      c.Engine.Port,
			Resources: c.Configuration.Resources,
		},
	}
	if f := c.Fit; f != nil {
		out.Memory = &v1alpha1.GPUMemory{
			RequiredGiBPerGPU:      fmt.Sprintf("%.1f", f.RequiredGiB),
			AvailableGiBPerGPU:     fmt.Sprintf("%.1f", f.AvailableGiB),
			MaxConcurrentSequences: f.MaxConcurrentSequences,
		}
		out.Snapshot.WeightsGiB = int64(math.Ceil(f.WeightsGiB))
	}
	return out, nil
}

func sameConfiguration(a, b *v1alpha1.SelectedRecipe) bool {
	return a.Name == b.Name && a.Namespace == b.Namespace && a.Source == b.Source && a.GPUCount == b.GPUCount
}

// isPinned says whether a candidate is the configuration of the recipe that runs.
func isPinned(c Candidate, s *v1alpha1.SelectedRecipe) bool {
	return c.Recipe.Name == s.Name && c.Recipe.Namespace == s.Namespace &&
		c.Recipe.Source.String() == s.Source && c.Configuration.GPUCount == s.GPUCount
}

// equal compares snapshots as they are stored: one of them was.
func equal(a, b *v1alpha1.Snapshot) (bool, error) {
	x, err := json.Marshal(a)
	if err != nil {
		return false, errors.Wrap(err, "cannot marshal the pinned snapshot")
	}
	y, err := json.Marshal(b)
	if err != nil {
		return false, errors.Wrap(err, "cannot marshal the new snapshot")
	}
	return bytes.Equal(x, y), nil
}

// candidates for a status. Selected is what runs, be it the best or not.
func candidates(d Decision, running *v1alpha1.SelectedRecipe) []v1alpha1.Candidate {
	out := make([]v1alpha1.Candidate, 0, min(maxCandidates, len(d.Candidates)))
	for _, c := range d.Candidates[:min(maxCandidates, len(d.Candidates))] {
		v := v1alpha1.Candidate{
			Recipe:    c.Recipe.Name,
			GPUCount:  c.Configuration.GPUCount,
			Hardware:  c.Recipe.Hardware,
			Precision: c.Recipe.Precision,
			Backend:   c.Recipe.Backend,
			Verdict:   string(c.Verdict),
			Reason:    c.Reason,
			Message:   c.Message,
		}
		if running != nil {
			isRunning := isPinned(c, running)
			switch {
			case isRunning && c.Verdict == VerdictEligible:
				v.Verdict, v.Reason, v.Message = string(VerdictSelected), "Pinned", "keeps running though another is better now"
			case !isRunning && c.Verdict == VerdictSelected:
				v.Verdict, v.Reason, v.Message = string(VerdictEligible), "BetterThanPinned", "is better than what runs; set recipe.upgradePolicy to Automatic to use it"
			}
		}
		out = append(out, v)
	}
	return out
}
