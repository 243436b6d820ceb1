package recipe

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/model"
)

// resourceGPU that a recipe may name, and need not: the platform sets it.
const resourceGPU = corev1.ResourceName("amd.com/gpu")

// secretVariable matches names of environment variables that hold secrets.
var secretVariable = regexp.MustCompile(`(?i)(token|api_?key|access_?key|secret|password)$`)

// Compiled is an AIMRecipe as endpoints can use it, and what was found in it.
type Compiled struct {
	// Recipe with the configurations that are enabled, and arguments that the
	// engine accepts.
	Recipe Recipe
	// Findings that are not of a single configuration.
	Findings []v1alpha1.RecipeFinding
	// Configurations of the recipe, by GPU count, enabled or not.
	Configurations []v1alpha1.RecipeConfigurationStatus
}

// AllFindings of a compiled recipe, its own first.
func (c Compiled) AllFindings() []v1alpha1.RecipeFinding {
	all := slices.Clone(c.Findings)
	for _, cfg := range c.Configurations {
		all = append(all, cfg.Findings...)
	}
	return all
}

// Valid says whether endpoints can use the recipe.
func (c Compiled) Valid() bool {
	return !slices.ContainsFunc(c.AllFindings(), func(f v1alpha1.RecipeFinding) bool {
		return f.Severity == string(engine.SeverityError)
	})
}

// Compile an AIMRecipe. Known are the facts of its model; nil if there are
// none.
func Compile(ref Reference, spec v1alpha1.AIMRecipeSpec, known *model.Facts) Compiled {
	r := Recipe{
		Name: ref.Name, Namespace: ref.Namespace,
		Model:     spec.ModelID,
		Hardware:  spec.Hardware,
		Precision: Canonical(spec.Precision),
		Backend:   spec.Backend,
		Priority:  int(spec.Priority),
		Facts:     factsOf(spec, known),
	}
	if i := spec.Image; i != nil {
		r.Image = Image{Repository: i.Repository, Tag: i.Tag}
	}
	out := Compiled{}

	// What no configuration can mend is said once.
	reason, msg := assess(r, Configuration{GPUCount: 1}, known).impossible()
	switch reason {
	case reasonUnknownHardware:
		out.Findings = append(out.Findings, problem("spec.hardware", "%s", msg))
	case reasonEngine:
		out.Findings = append(out.Findings, problem("spec.backend", "%s; choose another backend or hardware, or bring your own image: its repository and its tag", msg))
	case reasonPrecision:
		out.Findings = append(out.Findings, problem("spec.precision", "%s", msg))
	}

	enabled := 0
	for i, cfg := range spec.Configurations {
		c, st := compileConfiguration(r, cfg, field.NewPath("spec", "configurations").Index(i), spec.Performance, known)
		out.Configurations = append(out.Configurations, st)
		if st.Enabled {
			enabled++
			r.Configurations = append(r.Configurations, c)
		}
	}
	if enabled == 0 {
		out.Findings = append(out.Findings, problem("spec.configurations", "no configuration is enabled: add one, or set enabled to true"))
	}
	byCount := func(a, b v1alpha1.RecipeConfigurationStatus) int { return int(a.GPUCount) - int(b.GPUCount) }
	slices.SortStableFunc(out.Configurations, byCount)
	for i := 1; i < len(out.Configurations); i++ {
		if n := out.Configurations[i].GPUCount; n == out.Configurations[i-1].GPUCount {
			out.Findings = append(out.Findings, problem("spec.configurations", "there are two for %s: remove one", gpus(n)))
		}
	}
	slices.SortStableFunc(r.Configurations, func(a, b Configuration) int { return int(a.GPUCount) - int(b.GPUCount) })
	out.Recipe = r
	return out
}

// factsOf the model: what the recipe says, over what is known.
func factsOf(spec v1alpha1.AIMRecipeSpec, known *model.Facts) *model.Facts {
	m := spec.ModelFacts
	if m == nil {
		return nil
	}
	f := model.Facts{ID: spec.ModelID, Source: "the recipe"}
	if known != nil {
		f = *known
	}
	set := func(to *int64, from *int64) { *to = ptr.Deref(from, *to) }
	set(&f.Layers, m.Layers)
	set(&f.KVHeads, m.KVHeads)
	set(&f.AttentionHeads, m.AttentionHeads)
	set(&f.HeadDim, m.HeadDim)
	set(&f.MaxContextLength, m.MaxContextLength)
	if m.Layers != nil || m.KVHeads != nil || m.HeadDim != nil {
		// What is known of the cache is of the model as it is known.
		f.KVBytesPerToken = 0
	}
	set(&f.KVBytesPerToken, m.KVBytesPerToken)
	if p := m.ParametersBillion; p != nil {
		f.ParametersBillion = *p
		f.ActiveParametersBillion = 0
		f.WeightsGiB = nil
	}
	if w := m.WeightsGiB; w != nil {
		f.WeightsGiB = map[v1alpha1.Precision]float64{Canonical(spec.Precision): *w}
	}
	return &f
}

func problem(path, format string, a ...any) v1alpha1.RecipeFinding {
	return v1alpha1.RecipeFinding{Severity: string(engine.SeverityError), Path: path, Message: fmt.Sprintf(format, a...)}
}

func remark(path, format string, a ...any) v1alpha1.RecipeFinding {
	f := problem(path, format, a...)
	f.Severity = string(engine.SeverityWarning)
	return f
}

// compileConfiguration of a recipe.
func compileConfiguration(r Recipe, cfg v1alpha1.RecipeConfiguration, path *field.Path, p *v1alpha1.RecipePerformance, known *model.Facts) (Configuration, v1alpha1.RecipeConfigurationStatus) {
	st := v1alpha1.RecipeConfigurationStatus{GPUCount: cfg.GPUCount, Enabled: ptr.Deref(cfg.Enabled, true)}
	out := Configuration{GPUCount: cfg.GPUCount, Args: cfg.Args, Env: cfg.Env, Performance: performanceOf(cfg.Performance, p)}

	cand := assess(r, out, known)
	if cand.Engine.Name != "" && cand.Accelerator.Name != "" {
		args, findings := cand.Engine.Repair(cand.server(""))
		out.Args = args
		for _, f := range findings {
			st.Findings = append(st.Findings, v1alpha1.RecipeFinding{
				Severity: string(f.Severity), Path: path.Child("args").String(), Message: fmt.Sprintf("%q: %s", f.Arg, f.Message),
			})
		}
		cand = assess(r, out, known)
		s := cand.server("")
		st.Command = slices.Concat(cand.Engine.Command, cand.Engine.Args(s), cand.Engine.PortArgs(cand.Engine.Port))
	}
	if reason, msg := cand.impossible(); reason == reasonTensorParallel {
		st.Findings = append(st.Findings, problem(path.Child("gpuCount").String(), "%s", msg))
	}
	if cand.Fit != nil {
		st.Fits = ptr.To(cand.Fit.Fits())
		st.RequiredGiBPerGPU = fmt.Sprintf("%.1f", cand.Fit.RequiredGiB)
		st.AvailableGiBPerGPU = fmt.Sprintf("%.1f", cand.Fit.AvailableGiB)
		if !*st.Fits {
			// It stays in the catalog: an endpoint can skip the check, and one
			// that does not is told the arithmetic.
			st.Findings = append(st.Findings, remark(path.Child("gpuCount").String(), "%s", cand.tooSmall()))
		}
	}
	st.Findings = append(st.Findings, CheckEnv(path.Child("env"), cfg.Env)...)
	var findings []v1alpha1.RecipeFinding
	out.Resources, findings = resourcesOf(path.Child("resources"), cfg)
	st.Findings = append(st.Findings, findings...)

	if !st.Enabled {
		// What cannot be chosen does no harm.
		for i := range st.Findings {
			st.Findings[i].Severity = string(engine.SeverityWarning)
		}
	}
	return out, st
}

// performanceOf a configuration. Its own numbers go before those of all
// configurations, one by one.
func performanceOf(own, all *v1alpha1.RecipePerformance) Performance {
	p := Performance{}
	for _, r := range []*v1alpha1.RecipePerformance{all, own} {
		if r == nil {
			continue
		}
		p.TokensPerSecond = ptr.Deref(r.ExpectedTokensPerSecond, p.TokensPerSecond)
		p.LatencyMs = ptr.Deref(r.ExpectedLatencyMs, p.LatencyMs)
		p.MaxBatchSize = ptr.Deref(r.MaxBatchSize, p.MaxBatchSize)
	}
	return p
}

// What a pod offers to its own environment. The API server refuses all else.
var (
	podField    = regexp.MustCompile(`^(metadata\.(name|namespace|uid|(labels|annotations)\['[^']+'\])|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?))$`)
	podResource = regexp.MustCompile(`^(limits|requests)\.(cpu|memory|ephemeral-storage)$`)
)

// CheckEnv finds what the API server would refuse, and secrets in the open.
func CheckEnv(path *field.Path, env []corev1.EnvVar) []v1alpha1.RecipeFinding {
	var out []v1alpha1.RecipeFinding
	seen := map[string]bool{}
	for i, v := range env {
		p := path.Index(i).String()
		if msgs := validation.IsEnvVarName(v.Name); len(msgs) > 0 {
			out = append(out, problem(p+".name", "%q is no name of an environment variable: %s", v.Name, msgs[0]))
		}
		if seen[v.Name] {
			out = append(out, remark(p, "%s is there twice, the last one counts: remove the others", v.Name))
		}
		seen[v.Name] = true

		from := 0
		if f := v.ValueFrom; f != nil {
			for _, set := range []bool{f.FieldRef != nil, f.ResourceFieldRef != nil, f.ConfigMapKeyRef != nil, f.SecretKeyRef != nil} {
				if set {
					from++
				}
			}
			switch {
			case v.Value != "":
				out = append(out, problem(p, "%s has both a value and a valueFrom: remove one", v.Name))
			case from != 1:
				out = append(out, problem(p+".valueFrom", "%s must come from exactly one of fieldRef, resourceFieldRef, configMapKeyRef and secretKeyRef", v.Name))
			case f.SecretKeyRef != nil && (f.SecretKeyRef.Name == "" || f.SecretKeyRef.Key == ""):
				out = append(out, problem(p+".valueFrom.secretKeyRef", "%s must name a Secret and a key of it", v.Name))
			case f.FieldRef != nil && !podField.MatchString(f.FieldRef.FieldPath):
				out = append(out, problem(p+".valueFrom.fieldRef.fieldPath", "%s cannot come from %q: a pod offers metadata.name, metadata.namespace, metadata.uid, metadata.labels['key'], metadata.annotations['key'], spec.nodeName, spec.serviceAccountName, status.hostIP, status.hostIPs, status.podIP and status.podIPs", v.Name, f.FieldRef.FieldPath))
			case f.ResourceFieldRef != nil && !podResource.MatchString(f.ResourceFieldRef.Resource):
				out = append(out, problem(p+".valueFrom.resourceFieldRef.resource", "%s cannot come from %q: it must be limits. or requests. of cpu, memory or ephemeral-storage", v.Name, f.ResourceFieldRef.Resource))
			case f.ConfigMapKeyRef != nil && (f.ConfigMapKeyRef.Name == "" || f.ConfigMapKeyRef.Key == ""):
				out = append(out, problem(p+".valueFrom.configMapKeyRef", "%s must name a ConfigMap and a key of it", v.Name))
			}
		}
		if secretVariable.MatchString(v.Name) && v.Value != "" && !strings.HasPrefix(v.Value, "$(") {
			out = append(out, remark(p, "%s looks like a secret that everybody can read here: put it into a Secret, and use valueFrom.secretKeyRef", v.Name))
		}
	}
	return out
}

// resourcesOf a configuration, without its GPUs.
func resourcesOf(path *field.Path, cfg v1alpha1.RecipeConfiguration) (corev1.ResourceRequirements, []v1alpha1.RecipeFinding) {
	if cfg.Resources == nil {
		return DefaultResources(cfg.GPUCount), nil
	}
	var out []v1alpha1.RecipeFinding
	r := corev1.ResourceRequirements{}
	take := func(path *field.Path, from corev1.ResourceList) corev1.ResourceList {
		to := corev1.ResourceList{}
		for _, name := range sortedNames(from) {
			q := from[name]
			switch {
			case name == resourceGPU:
				if q.Value() != int64(cfg.GPUCount) {
					out = append(out, remark(path.Key(string(name)).String(), "%s is not the gpuCount of the configuration, which is used: remove it, or set it to %d", q.String(), cfg.GPUCount))
				}
				continue
			case q.Sign() < 0:
				out = append(out, problem(path.Key(string(name)).String(), "%s is below 0", q.String()))
			case name == corev1.ResourceMemory && q.Sign() > 0 && q.Value() < 1<<20:
				out = append(out, problem(path.Key(string(name)).String(), "%s is less than 1Mi: give a unit, such as 64Gi", q.String()))
			case !known(name):
				if msgs := validation.IsQualifiedName(string(name)); len(msgs) > 0 || !strings.Contains(string(name), "/") {
					out = append(out, problem(path.String(), "there is no resource %q: use cpu, memory, ephemeral-storage, or the full name of an extended resource", name))
				}
			}
			to[name] = q
		}
		if len(to) == 0 {
			return nil
		}
		return to
	}
	r.Requests = take(path.Child("requests"), cfg.Resources.Requests)
	r.Limits = take(path.Child("limits"), cfg.Resources.Limits)
	// A recipe that names GPUs only, as many do, needs cores and memory, too.
	for name, q := range DefaultResources(cfg.GPUCount).Requests {
		_, requested := r.Requests[name]
		_, limited := r.Limits[name]
		if requested || limited {
			continue
		}
		if r.Requests == nil {
			r.Requests = corev1.ResourceList{}
		}
		r.Requests[name] = q
	}
	for _, name := range sortedNames(r.Requests) {
		want := r.Requests[name]
		limit, limited := r.Limits[name]
		switch {
		case limited && want.Cmp(limit) > 0:
			out = append(out, problem(path.Child("requests").Key(string(name)).String(), "%s is above the limit of %s: lower it, or raise the limit", want.String(), limit.String()))
		case !known(name) && (!limited || want.Cmp(limit) != 0):
			out = append(out, problem(path.Child("requests").Key(string(name)).String(), "an extended resource must have the same request and limit"))
		}
	}
	return r, out
}

func known(name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage
}

func sortedNames(l corev1.ResourceList) []corev1.ResourceName {
	names := make([]corev1.ResourceName, 0, len(l))
	for n := range l {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// entryVersion of the format of catalog entries.
const entryVersion = 1

// An entry of the catalog: a compiled recipe, as it is stored.
type entry struct {
	Version int    `json:"version"`
	Recipe  Recipe `json:"recipe"`
}

// Marshal a recipe as an entry of the catalog.
func Marshal(r Recipe) (string, error) {
	b, err := json.Marshal(entry{Version: entryVersion, Recipe: r})
	return string(b), errors.Wrapf(err, "cannot marshal recipe %s", r.Name)
}

// Unmarshal a recipe from an entry of the catalog. An entry that another
// version of this program wrote in another format is an error.
func Unmarshal(s string) (Recipe, error) {
	e := entry{}
	if err := json.Unmarshal([]byte(s), &e); err != nil {
		return Recipe{}, errors.Wrap(err, "cannot unmarshal a catalog entry")
	}
	if e.Version != entryVersion {
		return Recipe{}, errors.Errorf("cannot use a catalog entry of version %d: this version of the function knows %d", e.Version, entryVersion)
	}
	return e.Recipe, nil
}
