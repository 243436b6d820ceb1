package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	xpv1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"sigs.k8s.io/yaml"
)

// chat and talk are claims.
const (
	chat = `
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMEndpoint
metadata: {name: chat, namespace: team-a}
spec:
  model: {id: Qwen/Qwen3-8B}
  recipe: {hardware: MI300X}
`
	talk = `
# A claim without a namespace is in the one that kubectl would use.
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMEndpoint
metadata: {name: talk}
spec:
  model: {id: Qwen/Qwen3-32B}
  cache: {enabled: true}
`
	noModel = `
apiVersion: aim.engine.amd.com/v1alpha1
kind: AIMEndpoint
metadata: {name: none}
spec:
  model: {id: acme/unheard-of}
`
	onlyMI300X = `
apiVersion: aim.fn.crossplane.io/v1beta1
kind: Input
inventory: [{hardware: MI300X, gpusPerNode: 8}]
images: [{backend: vllm, image: "localhost:5000/vllm:1"}]
`
)

func TestPlan(t *testing.T) {
	// document is what a document of the output is compared by.
	type document struct {
		Kind, Namespace, Name, Manifest string
	}
	type want struct {
		// lines that standard output has among others, or documents that it
		// consists of.
		lines     []string
		documents []document
		err       string
	}

	chatYAML := []document{
		{Kind: "ConfigMap", Namespace: "team-a", Name: "chat-config"},
		{Kind: "Deployment", Namespace: "team-a", Name: "chat"},
		{Kind: "Service", Namespace: "team-a", Name: "chat"},
	}
	talkYAML := []document{
		{Kind: "PersistentVolumeClaim", Namespace: "default", Name: "talk-cache"},
		{Kind: "ConfigMap", Namespace: "default", Name: "talk-config"},
		{Kind: "Deployment", Namespace: "default", Name: "talk"},
		{Kind: "Service", Namespace: "default", Name: "talk"},
	}
	unheard := `none: NoRecipeForModel: there is no recipe for model "acme/unheard-of"; set spec.model.id to one of ` + models

	cases := map[string]struct {
		reason string
		// skip says what is wrong with the function, not with the test.
		output string
		// files by name, and standard input.
		files map[string]string
		args  []string
		stdin string
		want  want
	}{
		"Text": {
			reason: "A person wants to know what would run, and why.",
			output: "text",
			files:  map[string]string{"chat.yaml": chat},
			args:   []string{"chat.yaml"},
			want: want{lines: []string{
				"ENDPOINT    team-a/chat",
				"RECIPE      qwen3-8b-mi300x-bfloat16-vllm (Builtin)",
				"RUNS ON     1 x MI300X, bfloat16, vllm",
				"IMAGE       vllm/vllm-openai-rocm:v0.22.1",
				"URL         http://chat.team-a.svc.cluster.local:8000",
				"COMPOSES    Deployment team-a/chat",
				"COMPOSES    Service team-a/chat",
				"COMPOSES    ConfigMap team-a/chat-config",
			}},
		},
		"YAML": {
			reason: "The manifests, as the provider would apply them.",
			output: "yaml",
			files:  map[string]string{"chat.yaml": chat},
			args:   []string{"chat.yaml"},
			want:   want{documents: chatYAML},
		},
		"Objects": {
			reason: "The composed resources, as Crossplane would make them.",
			output: "objects",
			files:  map[string]string{"talk.yaml": talk},
			args:   []string{"talk.yaml"},
			want: want{documents: []document{
				{Kind: "Object", Name: "aim-cache-default-talk-4e53ec1985cb1241", Manifest: "PersistentVolumeClaim"},
				{Kind: "Object", Manifest: "ConfigMap"},
				{Kind: "Object", Manifest: "Deployment"},
				{Kind: "Object", Manifest: "Service"},
			}},
		},
		"SeveralFilesAndDocuments": {
			reason: "In the order in which they were named.",
			output: "yaml",
			files:  map[string]string{"both.yaml": "---\n" + talk + "---\n\n---\n" + chat, "chat.yaml": chat},
			args:   []string{"chat.yaml", "both.yaml"},
			want:   want{documents: append(append(append([]document{}, chatYAML...), talkYAML...), chatYAML...)},
		},
		"Everything": {
			reason: "Of what a cluster can have or not a plan shows what it would make; what pods refer to is taken to be there.",
			output: "yaml",
			stdin: `{"apiVersion": "aim.engine.amd.com/v1alpha1", "kind": "AIMEndpoint", "metadata": {"name": "chat", "namespace": "team-a"}, "spec": {
				"model": {"id": "Qwen/Qwen3-8B"}, "scaling": {"maxReplicas": 2}, "monitoring": {"enabled": true},
				"service": {"route": {"hostname": "llm.example.org", "gateway": {"name": "public"}}},
				"security": {"serviceAccount": {"create": true}, "networkPolicy": {"enabled": true}, "apiKeySecretRef": {"name": "keys", "key": "chat"}},
				"deployment": {"priorityClassName": "high", "runtimeClassName": "kata", "canary": {"enabled": true}},
				"writeConnectionSecretToRef": {"name": "conn"}
			}}`,
			args: []string{"-"},
			want: want{documents: []document{
				{Kind: "PrometheusRule", Namespace: "team-a", Name: "chat"},
				{Kind: "HorizontalPodAutoscaler", Namespace: "team-a", Name: "chat"},
				{Kind: "ConfigMap", Namespace: "team-a", Name: "chat-config"},
				{Kind: "ConfigMap", Namespace: "team-a", Name: "chat-dashboard"},
				{Kind: "Deployment", Namespace: "team-a", Name: "chat"},
				{Kind: "PodDisruptionBudget", Namespace: "team-a", Name: "chat"},
				{Kind: "HTTPRoute", Namespace: "team-a", Name: "chat"},
				{Kind: "NetworkPolicy", Namespace: "team-a", Name: "chat"},
				{Kind: "Service", Namespace: "team-a", Name: "chat"},
				{Kind: "ServiceAccount", Namespace: "team-a", Name: "chat"},
				{Kind: "ServiceMonitor", Namespace: "team-a", Name: "chat"},
			}},
		},
		"MistakeInTheSpec": {
			reason: "A mistake that no schema finds should be found here, before anything is applied.",
			output: "yaml",
			stdin: `{"apiVersion": "aim.engine.amd.com/v1alpha1", "kind": "AIMEndpoint", "metadata": {"name": "chat"}, "spec": {
				"model": {"id": "Qwen/Qwen3-8B"}, "deployment": {"extraArgs": ["--max-modal-len", "8192"]}
			}}`,
			args: []string{"-"},
			want: want{err: "chat: ApplyFailed: spec.deployment.extraArgs: --max-modal-len is no flag of vLLM: remove it, or did you mean --max-model-len?; until then all stays as it is"},
		},
		"StandardInput": {
			reason: "So that it can be at the end of a pipe.",
			output: "yaml",
			stdin:  chat,
			args:   []string{"-"},
			want:   want{documents: chatYAML},
		},
		"JSON": {
			reason: "JSON is YAML.",
			output: "yaml",
			stdin:  `{"apiVersion": "aim.engine.amd.com/v1alpha1", "kind": "AIMEndpoint", "metadata": {"name": "chat", "namespace": "team-a"}, "spec": {"model": {"id": "Qwen/Qwen3-8B"}}}`,
			args:   []string{"-"},
			want:   want{documents: chatYAML},
		},
		"Composite": {
			reason: "A composite, as a bug report would have it.",
			output: "yaml",
			stdin:  strings.NewReplacer("kind: AIMEndpoint", "kind: XAIMEndpoint", "{name: chat, namespace: team-a}", "{name: chat-x7k2p}", "spec:", "spec:\n  claimRef: {apiVersion: aim.engine.amd.com/v1alpha1, kind: AIMEndpoint, namespace: team-a, name: chat}").Replace(chat),
			args:   []string{"-"},
			want:   want{documents: chatYAML},
		},
		"CompositeWithoutClaim": {
			reason: "The function cannot know where to compose, and neither can we.",
			output: "text",
			stdin:  strings.NewReplacer("kind: AIMEndpoint", "kind: XAIMEndpoint", ", namespace: team-a", "").Replace(chat),
			args:   []string{"-"},
			want: want{
				lines: []string{"ENDPOINT  chat"},
				err:   `chat: cannot tell which namespace to compose into: XAIMEndpoint "chat" has no claim; create an AIMEndpoint instead, or set namespace in this step's input`,
			},
		},
		"Input": {
			reason: "An input, wherever it is among the documents, is what the platform decided.",
			output: "text",
			stdin:  talk + "---\n" + onlyMI300X,
			args:   []string{"-"},
			want: want{lines: []string{
				"RUNS ON     1 x MI300X, bfloat16, vllm",
				"IMAGE       localhost:5000/vllm:1",
			}},
		},
		"InputWithAMistake": {
			reason: "A platform team should hear of a misspelt field here, rather than wonder why it has no effect.",
			output: "text",
			stdin:  talk + "---\n" + strings.Replace(onlyMI300X, "inventory", "inventroy", 1),
			args:   []string{"-"},
			want: want{
				lines: []string{"ENDPOINT  default/talk"},
				err:   `talk: cannot use the input of this pipeline step: unknown field "inventroy"`,
			},
		},
		"BadField": {
			reason: "What kubectl apply would refuse is refused here, with the same words.",
			output: "text",
			stdin:  strings.Replace(chat, "hardware", "hardwear", 1),
			args:   []string{"-"},
			want:   want{err: `AIMEndpoint "chat" is invalid: unknown field spec.recipe.hardwear`},
		},
		"Integer": {
			reason: "An integer in YAML is one to the schema's rules, too.",
			output: "yaml",
			stdin:  strings.Replace(chat, "hardware: MI300X", "gpuCount: 2", 1),
			args:   []string{"-"},
			want:   want{documents: chatYAML},
		},
		"BadValue": {
			reason: "What kubectl apply would refuse is refused here, with the same words.",
			output: "text",
			stdin:  strings.Replace(chat, "hardware: MI300X", "gpuCount: 9", 1),
			args:   []string{"-"},
			want:   want{err: `AIMEndpoint "chat" is invalid: spec.recipe.gpuCount: Invalid value: 9: must be 1 to 8: a replica runs on the GPUs of one node. For more throughput, raise scaling.minReplicas`},
		},
		"NoName": {
			reason: "kubectl apply would refuse it.",
			output: "yaml",
			stdin:  strings.Replace(chat, "name: chat, ", "", 1),
			args:   []string{"-"},
			want:   want{err: `AIMEndpoint "" is invalid: metadata.name: Invalid value: ""`},
		},
		"BadKind": {
			reason: "The person should be told what can be planned.",
			output: "text",
			stdin:  "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: chat}\n",
			args:   []string{"-"},
			want:   want{err: "cannot plan a Deployment of apps/v1: this function composes AIMCache, AIMEndpoint, AIMRecipe, XAIMCache, XAIMEndpoint and XAIMRecipe of aim.engine.amd.com/v1alpha1"},
		},
		"BadYAML": {
			reason: "Which document of which file.",
			output: "text",
			stdin:  chat + "---\na: b: c\n",
			args:   []string{"-"},
			want:   want{err: "cannot parse document 2 of -: "},
		},
		"DuplicateField": {
			reason: "One of the two would be ignored.",
			output: "text",
			stdin:  chat + "spec: {}\n",
			args:   []string{"-"},
			want:   want{err: "cannot parse document 1 of -: "},
		},
		"NoFile": {
			reason: "Which file.",
			output: "text",
			args:   []string{"missing.yaml"},
			want:   want{err: "cannot read missing.yaml: open missing.yaml: no such file or directory"},
		},
		"Nothing": {
			reason: "An input alone is nothing to plan.",
			output: "text",
			stdin:  onlyMI300X,
			args:   []string{"-"},
			want:   want{err: "there is nothing to plan: name a file with an AIMEndpoint"},
		},
		"NoPlan": {
			reason: "The reason, and an error for scripts to see.",
			output: "text",
			stdin:  noModel,
			args:   []string{"-"},
			want:   want{lines: []string{"ENDPOINT  default/none"}, err: unheard},
		},
		"NoPlanAmongOthers": {
			reason: "The others have a plan all the same.",
			output: "yaml",
			stdin:  noModel + "---\n" + chat,
			args:   []string{"-"},
			want:   want{documents: chatYAML, err: unheard},
		},
		"NoPlanWithCandidates": {
			reason: "Each candidate says why it cannot be.",
			output: "text",
			stdin:  strings.Replace(talk, "spec:", "spec:\n  recipe: {precision: int8}", 1),
			args:   []string{"-"},
			want: want{
				lines: []string{"qwen3-32b-mi300x-bfloat16-vllm    1     MI300X    bfloat16   vllm     Rejected  runs at precision bfloat16, but int8 is asked for"},
				err:   `talk: NoRecipeMatches: no recipe for model "Qwen/Qwen3-32B" has precision int8`,
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for n, s := range tc.files {
				if err := os.WriteFile(n, []byte(s), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out := &bytes.Buffer{}
			c := &planCmd{Files: tc.args, Output: tc.output}
			err := c.run(context.Background(), strings.NewReader(tc.stdin), out)

			msg := ""
			if err != nil {
				msg = err.Error()
			}
			// What was asked and offered is for the recipe package to test, and
			// how YAML is wrong for its parser.
			if tc.want.err == "" && msg != "" || !strings.HasPrefix(msg, tc.want.err) {
				t.Errorf("%s\nc.run(...): -want error, +got error:\n%s", tc.reason, cmp.Diff(tc.want.err, msg))
			}
			for _, l := range tc.want.lines {
				if !strings.Contains("\n"+out.String(), "\n"+l+"\n") {
					t.Errorf("%s\nc.run(...): want the line\n%s\ngot\n%s", tc.reason, l, out)
				}
			}
			if tc.output == "text" {
				return
			}
			var got []document
			for d := range strings.SplitSeq(out.String(), "---\n") {
				m := struct {
					Kind     string
					Metadata struct{ Name, Namespace string }
					Spec     struct {
						ForProvider struct {
							Manifest struct{ Kind string }
						}
					}
				}{}
				if err := yaml.Unmarshal([]byte(d), &m); err != nil {
					t.Fatalf("cannot parse what was printed: %v\n%s", err, d)
				}
				if m.Kind != "" {
					got = append(got, document{Kind: m.Kind, Namespace: m.Metadata.Namespace, Name: m.Metadata.Name, Manifest: m.Spec.ForProvider.Manifest.Kind})
				}
			}
			if diff := cmp.Diff(tc.want.documents, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s\nc.run(...): -want documents, +got documents:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestPlanExamples makes sure that each example passes the schema and has a
// plan.
func TestPlanExamples(t *testing.T) {
	files, err := filepath.Glob("../examples/*/claim.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("cannot find any examples: %v", err)
	}
	for _, f := range files {
		t.Run(filepath.Base(filepath.Dir(f)), func(t *testing.T) {
			for _, output := range []string{"text", "yaml", "objects"} {
				out := &bytes.Buffer{}
				c := &planCmd{Files: []string{f}, Output: output}
				err := c.run(context.Background(), nil, out)
				if err != nil {
					t.Errorf("c.run(...): -o %s: %v", output, err)
				}
				if out.Len() == 0 {
					t.Errorf("c.run(...): -o %s printed nothing", output)
				}
			}
		})
	}
}

// TestPlanPlatform makes sure that the input of the platform's example is one,
// and has the effect that its comments promise.
func TestPlanPlatform(t *testing.T) {
	b, err := os.ReadFile("../examples/platform/composition.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := &xpv1.Composition{}
	if err := yaml.UnmarshalStrict(b, c); err != nil {
		t.Fatal(err)
	}
	stdin := talk + "---\n" + string(c.Spec.Pipeline[0].Input.Raw)
	out := &bytes.Buffer{}
	if err := (&planCmd{Files: []string{"-"}, Output: "text"}).run(context.Background(), strings.NewReader(stdin), out); err != nil {
		t.Fatalf("c.run(...): %v", err)
	}
	for _, want := range []string{
		"RUNS ON     1 x MI300X, bfloat16, vllm",
		"IMAGE       registry.example.com/mirror/vllm-openai-rocm:v0.22.1-gfx942",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("c.run(...): want the line\n%s\ngot\n%s", want, out)
		}
	}
}
