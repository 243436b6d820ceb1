package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/crossplane/function-sdk-go/errors"
	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
	"github.com/aim-engine/function-aim/fn/object"
	"github.com/aim-engine/function-aim/fn/schema"
	"github.com/aim-engine/function-aim/input/v1beta1"
)

// maxIterations of a function until its requirements must be met: as many as
// Crossplane allows.
const maxIterations = 5

// planCmd shows what the function would do, without a cluster.
type planCmd struct {
	Files  []string `arg:""         help:"Files of claims or composites, and of inputs of the function. - reads standard input."`
	Output string   `default:"text" enum:"text,yaml,objects"                                                                     help:"What to print: text explains the choice, yaml prints the manifests that would be applied, objects prints the composed resources." short:"o"`
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

	var input *structpb.Struct
	var xrs []*unstructured.Unstructured
	for _, d := range docs {
		if d.GroupVersionKind() == v1beta1.GroupVersion.WithKind("Input") {
			if input, err = structOf(d.Object); err != nil {
				return errors.Wrap(err, "cannot read the function's input")
			}
			continue
		}
		if !schemas.Knows(d.GroupVersionKind()) {
			return errors.Errorf("cannot plan a %s of %s: this function composes %s of %s", d.GetKind(), d.GetAPIVersion(), kinds(), v1alpha1.GroupVersion)
		}
		if err := schemas.Admit(ctx, d); err != nil {
			return errors.Wrapf(err, "%s %q is invalid", d.GetKind(), d.GetName())
		}
		xrs = append(xrs, compositeOf(d))
	}
	if len(xrs) == 0 {
		return errors.New("there is nothing to plan: name a file with an AIMEndpoint")
	}

	var failed []string
	for _, xr := range xrs {
		rsp, err := runToCompletion(ctx, xr, input)
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

// readAll documents of files.
func readAll(files []string, stdin io.Reader) ([]*unstructured.Unstructured, error) {
	var docs []*unstructured.Unstructured
	for _, f := range files {
		var b []byte
		var err error
		if f == "-" {
			b, err = io.ReadAll(stdin)
		} else {
			b, err = os.ReadFile(f) //nolint:gosec // Reading the file that the user named is the point.
		}
		if err != nil {
			return nil, errors.Wrapf(err, "cannot read %s", f)
		}
		r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b)))
		for i := 1; ; i++ {
			doc, err := r.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, errors.Wrapf(err, "cannot read document %d of %s", i, f)
			}
			u := &unstructured.Unstructured{}
			j, err := yaml.YAMLToJSONStrict(doc)
			if err == nil {
				// The schema tells integers from other numbers.
				err = kjson.UnmarshalCaseSensitivePreserveInts(j, &u.Object)
			}
			if err != nil {
				return nil, errors.Wrapf(err, "cannot parse document %d of %s", i, f)
			}
			if len(u.Object) == 0 {
				continue
			}
			docs = append(docs, u)
		}
	}
	return docs, nil
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

// runToCompletion runs the function until its requirements are met, as
// Crossplane would. Nothing that it requires exists.
func runToCompletion(ctx context.Context, xr *unstructured.Unstructured, input *structpb.Struct) (*fnv1.RunFunctionResponse, error) {
	s, err := structOf(xr.Object)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot convert %s to protobuf", xr.GetKind())
	}
	f := &Function{log: logging.NewNopLogger()}
	req := &fnv1.RunFunctionRequest{
		Meta: &fnv1.RequestMeta{Capabilities: []fnv1.Capability{
			fnv1.Capability_CAPABILITY_CAPABILITIES, fnv1.Capability_CAPABILITY_REQUIRED_RESOURCES,
		}},
		Observed:          &fnv1.State{Composite: &fnv1.Resource{Resource: s}},
		Input:             input,
		RequiredResources: map[string]*fnv1.Resources{},
	}
	for range maxIterations + 1 {
		rsp, err := f.RunFunction(ctx, req)
		if err != nil {
			return nil, err
		}
		missing := false
		for k := range rsp.GetRequirements().GetResources() {
			if _, ok := req.GetRequiredResources()[k]; !ok {
				req.RequiredResources[k] = &fnv1.Resources{}
				missing = true
			}
		}
		if !missing {
			return rsp, nil
		}
	}
	return nil, errors.Errorf("the requirements of %s %q did not settle in %d calls", xr.GetKind(), xr.GetName(), maxIterations+1)
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
