package main

import (
	"bytes"
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/resource"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/aim-engine/function-aim/fn/endpoint"
)

// FuzzRunFunction makes sure that no composite, no composed resource and no
// input, however strange, makes the function panic, return an error, return
// nothing, or return one thing now and another later. Whatever it returns must
// be valid protobuf, and be settled in as many calls as Crossplane makes.
//
// A fuzzer that edits text hardly ever makes JSON that is still a composite. So
// it chooses which requests are edited how often, and a text that may be what
// is put into them; where they are edited, and how, is decided by a seed.
func FuzzRunFunction(f *testing.F) {
	reqs := corpus(f)
	names := slices.Sorted(maps.Keys(reqs))
	answers := []*structpb.Struct{
		resource.MustStructJSON(podPending), resource.MustStructJSON(classExpandable), entryOfMine(f)[0], user(f, "team-a", "one"),
		claimOfCache(hasModel), cacheUser(f, "chat"),
		resource.MustStructJSON(`{"apiVersion": "apiextensions.crossplane.io/v1beta1", "kind": "EnvironmentConfig", "metadata": {"name": "gpus"}, "data": {"inventory": [{"hardware": "MI300X", "gpusPerNode": 8}]}}`),
		definition(endpoint.APIServiceMonitor), resource.MustStructJSON(gatewayPublic),
	}
	for i := range names {
		f.Add(uint8(i), uint8(0), uint64(0), "")
		f.Add(uint8(i), uint8(1), uint64(i), "Qwen/Qwen3-8B")
		f.Add(uint8(i), uint8(4), uint64(i), "1Gi")
		f.Add(uint8(i), uint8(16), uint64(i), "{\"a\": [null]}")
	}

	f.Fuzz(func(t *testing.T, which, edits uint8, seed uint64, text string) {
		req := proto.Clone(reqs[names[int(which)%len(names)]]).(*fnv1.RunFunctionRequest)
		// What is edited must not be what is edited next.
		answer := proto.Clone(answers[seed%uint64(len(answers))]).(*structpb.Struct)
		e := &editor{rand: rand.New(rand.NewPCG(seed, uint64(which))), text: strings.ToValidUTF8(text, "?")}
		targets := make([]*structpb.Struct, 0, 10)
		targets = append(targets, req.GetObserved().GetComposite().GetResource(), req.GetObserved().GetComposite().GetResource(), req.GetInput())
		for _, n := range slices.Sorted(maps.Keys(req.GetObserved().GetResources())) {
			targets = append(targets, req.GetObserved().GetResources()[n].GetResource())
		}
		targets = append(targets, answer)
		for range edits % 32 {
			if s := targets[e.rand.IntN(len(targets))]; s != nil {
				e.edit(s)
			}
		}

		var last *fnv1.Requirements
		for i := 0; ; i++ {
			rsp := twice(t, req)
			if i > 0 && proto.Equal(last, rsp.GetRequirements()) {
				return
			}
			if i == maxIterations {
				t.Fatalf("the requirements did not settle: %v, then %v", last, rsp.GetRequirements())
			}
			last = rsp.GetRequirements()
			old := last.GetExtraResources() //nolint:staticcheck // What Crossplane before 2.2 knows.
			if len(last.GetResources()) > 0 && len(old) > 0 {
				t.Fatal("Crossplane 1.20 never settles if it is sent both kinds of requirements")
			}
			req.RequiredResources = answered(last.GetResources(), answer)
			req.ExtraResources = answered(old, answer) //nolint:staticcheck // As above.
		}
	})
}

// answered selectors, all with the same object.
func answered(selectors map[string]*fnv1.ResourceSelector, with *structpb.Struct) map[string]*fnv1.Resources {
	out := map[string]*fnv1.Resources{}
	for k := range selectors {
		out[k] = &fnv1.Resources{Items: []*fnv1.Resource{{Resource: with}}}
	}
	return out
}

// An editor of structs.
type editor struct {
	rand *rand.Rand
	text string
}

// edit one field, somewhere.
func (e *editor) edit(s *structpb.Struct) {
	keys := slices.Sorted(maps.Keys(s.GetFields()))
	if len(keys) == 0 {
		s.Fields = map[string]*structpb.Value{e.text: e.value(0)}
		return
	}
	k := keys[e.rand.IntN(len(keys))]
	// Most of what there is to get wrong is far below.
	if e.rand.IntN(8) > 0 {
		switch v := s.GetFields()[k].GetKind().(type) {
		case *structpb.Value_StructValue:
			e.edit(v.StructValue)
			return
		case *structpb.Value_ListValue:
			e.editList(v.ListValue)
			return
		}
	}
	switch e.rand.IntN(6) {
	case 0:
		delete(s.GetFields(), k)
	case 1:
		s.Fields[e.text] = e.value(0)
	default:
		s.Fields[k] = e.value(0)
	}
}

func (e *editor) editList(l *structpb.ListValue) {
	if len(l.GetValues()) == 0 {
		l.Values = append(l.GetValues(), e.value(0))
		return
	}
	i := e.rand.IntN(len(l.GetValues()))
	if s := l.GetValues()[i].GetStructValue(); s != nil && e.rand.IntN(8) > 0 {
		e.edit(s)
		return
	}
	switch e.rand.IntN(3) {
	case 0:
		l.Values = slices.Delete(l.GetValues(), i, i+1)
	case 1:
		l.Values = append(l.GetValues(), proto.Clone(l.GetValues()[i]).(*structpb.Value))
	default:
		l.Values[i] = e.value(0)
	}
}

// value of any kind.
func (e *editor) value(depth int) *structpb.Value {
	texts := []string{
		e.text, "", "0", "-1", "1e400", "999999999999999999999Ei", "0.000000000001", "True", "False", "../..", "a/b/c", "MI210", "sglang", "float8", "LoadBalancer",
		"2026-01-01T00:00:00Z", strings.Repeat("x", 300), strings.Repeat("\u00e9", 200), "\x00", "%s%d", "localhost:5000/a@sha256:0", ":", "-",
	}
	numbers := []float64{0, 1, 2, 8, -1, 0.5, 65535, 65536, math.MaxInt32, math.MaxInt32 + 1, math.MinInt64, 1e18, 1e300}
	switch n := e.rand.IntN(12); {
	case n < 5:
		return structpb.NewStringValue(texts[e.rand.IntN(len(texts))])
	case n < 8:
		return structpb.NewNumberValue(numbers[e.rand.IntN(len(numbers))])
	case n < 9:
		return structpb.NewBoolValue(e.rand.IntN(2) == 0)
	case n < 10 || depth > 2:
		return structpb.NewNullValue()
	case n < 11:
		return structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{e.value(depth + 1)}})
	}
	return structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{e.text: e.value(depth + 1)}})
}

// twice runs the function, and returns what it returned both times.
func twice(t *testing.T, req *fnv1.RunFunctionRequest) *fnv1.RunFunctionResponse {
	t.Helper()
	f := &Function{log: logging.NewNopLogger()}
	var first []byte
	for range 2 {
		rsp, err := f.RunFunction(context.Background(), proto.Clone(req).(*fnv1.RunFunctionRequest))
		if err != nil {
			t.Fatalf("f.RunFunction(...): %v", err)
		}
		fatal := false
		for _, r := range rsp.GetResults() {
			fatal = fatal || r.GetSeverity() == fnv1.Severity_SEVERITY_FATAL
			if strings.Contains(r.GetMessage(), "internal error") {
				t.Fatalf("f.RunFunction(...): %s", r.GetMessage())
			}
		}
		// Without it a composite of which nothing is composed would be ready.
		if !fatal && rsp.GetDesired().GetComposite().GetReady() == fnv1.Ready_READY_UNSPECIFIED && len(rsp.GetDesired().GetResources()) == 0 {
			t.Fatal("f.RunFunction(...): the composite's readiness is not set")
		}
		// What runs is never deleted, whatever else cannot be resolved.
		running := composite{raw: req.GetObserved().GetComposite().GetResource()}.objects().ResourceName("deployment")
		if _, ok := req.GetObserved().GetResources()[running]; ok && !fatal && rsp.GetDesired().GetResources()[running] == nil {
			t.Fatal("f.RunFunction(...): the Deployment that runs is not desired any more")
		}
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(rsp)
		if err != nil {
			t.Fatalf("cannot marshal the response: %v", err)
		}
		// Crossplane reads it as JSON, which protobuf alone does not ensure.
		for n, r := range rsp.GetDesired().GetResources() {
			if _, err := r.GetResource().MarshalJSON(); err != nil && !fatal {
				t.Fatalf("cannot marshal %s as JSON: %v", n, err)
			}
		}
		if first == nil {
			first = b
			continue
		}
		if !bytes.Equal(first, b) {
			t.Fatalf("the same request had two responses:\n%s\n%s", first, b)
		}
		return rsp
	}
	return nil
}
