package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/crossplane/function-sdk-go/errors"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/schema"
	"github.com/aim-engine/function-aim/input/v1beta1"
)

// planCmd shows what the function would do, without a cluster.
type planCmd struct {
	Files  []string `arg:""         help:"Files of claims or composites, of AIMRecipes and an inventory to choose from, and of an input of the function. - reads standard input."`
	Output string   `default:"text" enum:"text,yaml,objects"                                                                                                                      help:"What to print: text explains the choice, yaml prints the manifests that would be applied, objects prints the composed resources." short:"o"`
}

// Run prints the plan of each composite in the files, in their order. It fails
// if one of them has none.
func (c *planCmd) Run() error {
	return c.run(context.Background(), os.Stdin, os.Stdout)
}

func (c *planCmd) run(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	docs, err := readAll(c.Files, stdin)
	if err != nil {
		return err
	}
	schemas, err := schema.Load()
	if err != nil {
		return err
	}

	w := &offline{}
	xrs, recipes, err := admit(ctx, schemas, docs, w)
	if err != nil {
		return err
	}
	if len(xrs) == 0 {
		return errors.New("there is nothing to plan: name a file with an AIMEndpoint; lint checks an AIMRecipe by itself")
	}
	for _, xr := range recipes {
		if err := w.catalog(ctx, xr); err != nil {
			return err
		}
	}

	var failed []string
	for _, xr := range xrs {
		rsp, err := w.run(ctx, xr)
		if err != nil {
			return err
		}
		ok, err := c.print(stdout, xr, rsp)
		if err != nil {
			return err
		}
		if !ok {
			failed = append(failed, reasonOf(xr, rsp))
		}
	}
	if len(failed) > 0 {
		return errors.New(strings.Join(failed, "\n"))
	}
	return nil
}

// admit documents as the API server would: it returns the composites to plan and
// the recipes to choose from. What else there is, is in the cluster.
func admit(ctx context.Context, schemas *schema.Schemas, docs []document, w *offline) (xrs, recipes []*unstructured.Unstructured, err error) {
	for _, d := range docs {
		switch gvk := d.GroupVersionKind(); {
		case gvk == v1beta1.GroupVersion.WithKind("Input"):
			if w.input, err = structOf(d.Object); err != nil {
				return nil, nil, errors.Wrap(err, "cannot read the function's input")
			}
			continue
		case gvk.GroupVersion().String() == environmentConfigAPIVersion && gvk.Kind == environmentConfigKind:
			if err := w.add(d.Object); err != nil {
				return nil, nil, err
			}
			continue
		case !schemas.Knows(gvk):
			return nil, nil, errors.Errorf("cannot plan a %s of %s: this function composes %s of %s", d.GetKind(), d.GetAPIVersion(), kinds(), v1alpha1.GroupVersion)
		}
		if err := schemas.Admit(ctx, d.Unstructured); err != nil {
			return nil, nil, errors.Wrapf(err, "%s %q is invalid", d.GetKind(), d.GetName())
		}
		if d.GetKind() == v1alpha1.KindAIMCache {
			// Endpoints mount it.
			if err := w.add(inNamespace(d.Unstructured).Object); err != nil {
				return nil, nil, err
			}
			continue
		}
		xr := compositeOf(d.Unstructured)
		if xr.GetKind() == v1alpha1.KindXAIMRecipe {
			recipes = append(recipes, xr)
			continue
		}
		xrs = append(xrs, xr)
	}
	return xrs, recipes, nil
}

// inNamespace is an object in the namespace that kubectl would use.
func inNamespace(d *unstructured.Unstructured) *unstructured.Unstructured {
	out := d.DeepCopy()
	if out.GetNamespace() == "" {
		out.SetNamespace("default")
	}
	return out
}

// compositeOf a claim, as Crossplane would make it. The name is the claim's,
// where Crossplane would add a random suffix.
func compositeOf(d *unstructured.Unstructured) *unstructured.Unstructured {
	if strings.HasPrefix(d.GetKind(), "X") {
		return d
	}
	ns := d.GetNamespace()
	if ns == "" {
		ns = "default"
	}
	xr := d.DeepCopy()
	xr.SetKind("X" + d.GetKind())
	xr.SetNamespace("")
	l := xr.GetLabels()
	if l == nil {
		l = map[string]string{}
	}
	l[labelClaimName], l[labelClaimNamespace] = d.GetName(), ns
	xr.SetLabels(l)
	spec, _, _ := unstructured.NestedMap(xr.Object, "spec")
	if spec == nil {
		spec = map[string]any{}
	}
	delete(spec, "writeConnectionSecretToRef")
	spec["claimRef"] = map[string]any{"apiVersion": d.GetAPIVersion(), "kind": d.GetKind(), "namespace": ns, "name": d.GetName()}
	xr.Object["spec"] = spec
	return xr
}

// reasonOf a composite without a plan.
func reasonOf(xr *unstructured.Unstructured, rsp *fnv1.RunFunctionResponse) string {
	for _, r := range rsp.GetResults() {
		if r.GetSeverity() == fnv1.Severity_SEVERITY_FATAL {
			return fmt.Sprintf("%s: %s", xr.GetName(), r.GetMessage())
		}
	}
	for _, c := range rsp.GetConditions() {
		if c.GetStatus() != fnv1.Status_STATUS_CONDITION_TRUE {
			return fmt.Sprintf("%s: %s: %s", xr.GetName(), c.GetReason(), c.GetMessage())
		}
	}
	return xr.GetName() + ": nothing would be composed"
}

// print a plan. It returns false if there is none.
func (c *planCmd) print(w io.Writer, xr *unstructured.Unstructured, rsp *fnv1.RunFunctionResponse) (bool, error) {
	names := make([]string, 0, len(rsp.GetDesired().GetResources()))
	for n := range rsp.GetDesired().GetResources() {
		names = append(names, n)
	}
	slices.Sort(names)

	if c.Output == "text" {
		st := v1alpha1.AIMEndpointStatus{}
		if s := (composite{raw: rsp.GetDesired().GetComposite().GetResource()}).field("status").GetStructValue(); s != nil {
			if err := object.Convert(s, &st); err != nil {
				return false, errors.Wrap(err, "cannot read the planned status")
			}
		}
		return len(names) > 0, explain(w, xr, rsp, st, names)
	}

	for _, n := range names {
		s := rsp.GetDesired().GetResources()[n].GetResource()
		if c.Output == "yaml" {
			s = object.ManifestOf(s)
		}
		b, err := yaml.Marshal(s.AsMap())
		if err != nil {
			return false, errors.Wrapf(err, "cannot marshal %s", n)
		}
		if _, err := fmt.Fprintf(w, "---\n%s", b); err != nil {
			return false, errors.Wrap(err, "cannot write")
		}
	}
	return len(names) > 0, nil
}

// explain a plan to a person.
func explain(w io.Writer, xr *unstructured.Unstructured, rsp *fnv1.RunFunctionResponse, st v1alpha1.AIMEndpointStatus, names []string) error {
	s, err := structOf(xr.Object)
	if err != nil {
		return errors.Wrapf(err, "cannot convert %s to protobuf", xr.GetKind())
	}
	ns, name := composite{raw: s}.target()
	rows := [][]string{{"ENDPOINT", strings.TrimPrefix(ns+"/"+name, "/")}}
	if r := st.SelectedRecipe; r != nil {
		rows = append(rows,
			[]string{"RECIPE", fmt.Sprintf("%s (%s)", r.Name, r.Source)},
			[]string{"RUNS ON", fmt.Sprintf("%d x %s, %s, %s", r.GPUCount, r.Hardware, r.Precision, r.Backend)},
			[]string{"IMAGE", r.Image})
		if m := r.Memory; m != nil {
			rows = append(rows, []string{"GPU MEMORY", fmt.Sprintf("%s of %s GiB usable on each GPU; about %d sequences of full length at once (estimate)",
				m.RequiredGiBPerGPU, m.AvailableGiBPerGPU, m.MaxConcurrentSequences)})
		}
		rows = append(rows, []string{"URL", st.URL}, []string{"WHY", r.Reason})
	}
	for _, n := range names {
		u := unstructured.Unstructured{Object: object.ManifestOf(rsp.GetDesired().GetResources()[n].GetResource()).AsMap()}
		rows = append(rows, []string{"COMPOSES", fmt.Sprintf("%s %s/%s", u.GetKind(), u.GetNamespace(), u.GetName())})
	}
	if err := table(w, rows); err != nil || len(st.Candidates) == 0 {
		return err
	}

	rows = [][]string{{"CANDIDATE", "GPUS", "HARDWARE", "PRECISION", "BACKEND", "VERDICT", "WHY"}}
	for _, c := range st.Candidates {
		rows = append(rows, []string{c.Recipe, strconv.Itoa(int(c.GPUCount)), string(c.Hardware), string(c.Precision), string(c.Backend), c.Verdict, c.Message})
	}
	return table(w, rows)
}

// table of rows, with an empty line after it.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		if _, err := fmt.Fprintln(tw, strings.Join(r, "\t")); err != nil {
			return errors.Wrap(err, "cannot write")
		}
	}
	if err := tw.Flush(); err != nil {
		return errors.Wrap(err, "cannot write")
	}
	_, err := fmt.Fprintln(w)
	return errors.Wrap(err, "cannot write")
}
