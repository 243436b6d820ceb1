package main

import (
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
)

// xrNamespaced is a patch that makes a namespaced composite of xrChat, as
// Crossplane 2 has them.
const xrNamespaced = `{
	"kind": "AIMEndpoint",
	"metadata": {"name": "chat", "namespace": "team-a", "labels": null},
	"spec": {"claimRef": null, "compositionRef": null, "crossplane": {"compositionRef": {"name": "aimendpoints"}}}
}`

// TestGenerations is about the two generations of composites, and of the
// Objects that they can own.
func TestGenerations(t *testing.T) {
	type want struct {
		resources  []string
		apiVersion string
		ref        string
		// target that is composed into: namespace, and base name.
		namespace string
		name      string
		// observedGeneration in the status.
		generation float64
	}

	cases := map[string]struct {
		reason string
		xr     string
		input  string
		want   want
	}{
		"Claimed": {
			reason: "A composite with a claim composes cluster scoped Objects, whose targets are where the claim is and have its name. Its status is copied to the claim, which has another generation.",
			xr:     `{}`,
			want: want{
				resources:  []string{"cache-object", "config-object", "deployment-object", "service-object"},
				apiVersion: "kubernetes.crossplane.io/v1alpha2",
				ref:        `{"name": "default"}`,
				namespace:  "team-a",
				name:       "chat",
			},
		},
		"ClaimedByLabelsOnly": {
			reason: "Crossplane's labels name the claim, too.",
			xr:     `{"spec": {"claimRef": null}}`,
			want: want{
				resources:  []string{"cache-object", "config-object", "deployment-object", "service-object"},
				apiVersion: "kubernetes.crossplane.io/v1alpha2",
				ref:        `{"name": "default"}`,
				namespace:  "team-a",
				name:       "chat",
				generation: 3,
			},
		},
		"Namespaced": {
			reason: "A namespaced composite composes namespaced Objects under other names, or Crossplane would leak those of the other kind.",
			xr:     xrNamespaced,
			want: want{
				resources:  []string{"cache-object-m", "config-object-m", "deployment-object-m", "service-object-m"},
				apiVersion: "kubernetes.m.crossplane.io/v1alpha1",
				ref:        `{"kind": "ClusterProviderConfig", "name": "default"}`,
				namespace:  "team-a",
				name:       "chat",
				generation: 3,
			},
		},
		"ModernClusterScoped": {
			reason: "A cluster scoped composite composes where the platform says, under its own name.",
			xr:     `{"metadata": {"name": "chat", "labels": null}, "spec": {"claimRef": null, "compositionRef": null, "crossplane": {}}}`,
			input:  `{"namespace": "models"}`,
			want: want{
				resources:  []string{"cache-object", "config-object", "deployment-object", "service-object"},
				apiVersion: "kubernetes.crossplane.io/v1alpha2",
				ref:        `{"name": "default"}`,
				namespace:  "models",
				name:       "chat",
				generation: 3,
			},
		},
		"ClaimBeforeInput": {
			reason: "A claim's Secrets are where the claim is, and so must be what uses them.",
			xr:     `{}`,
			input:  `{"namespace": "models"}`,
			want: want{
				resources:  []string{"cache-object", "config-object", "deployment-object", "service-object"},
				apiVersion: "kubernetes.crossplane.io/v1alpha2",
				ref:        `{"name": "default"}`,
				namespace:  "team-a",
				name:       "chat",
			},
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(tc.xr, `{"spec": {"cache": {"enabled": true}}}`)
			if tc.input != "" {
				w.input = resource.MustStructJSON(tc.input)
			}
			rsp := w.reconcile(t)

			names := make([]string, 0, len(tc.want.resources))
			for _, r := range digestOf(rsp).Resources {
				n, _, _ := strings.Cut(r, " ")
				names = append(names, n)
			}
			if diff := cmp.Diff(tc.want.resources, names); diff != "" {
				t.Fatalf("%s\nf.RunFunction(...): -want resources, +got resources:\n%s", tc.reason, diff)
			}
			for n, r := range rsp.GetDesired().GetResources() {
				o := r.GetResource()
				if diff := cmp.Diff(tc.want.apiVersion+" Object", at(o, "apiVersion").GetStringValue()+" "+at(o, "kind").GetStringValue()); diff != "" {
					t.Errorf("%s\n%s: -want kind, +got kind:\n%s", tc.reason, n, diff)
				}
				if diff := cmp.Diff(resource.MustStructJSON(tc.want.ref), at(o, "spec", "providerConfigRef").GetStructValue(), protocmp.Transform()); diff != "" {
					t.Errorf("%s\n%s: -want providerConfigRef, +got providerConfigRef:\n%s", tc.reason, n, diff)
				}
				if diff := cmp.Diff(tc.want.namespace, at(o, "spec", "forProvider", "manifest", "metadata", "namespace").GetStringValue()); diff != "" {
					t.Errorf("%s\n%s: -want target's namespace, +got target's namespace:\n%s", tc.reason, n, diff)
				}
				if got := at(o, "spec", "forProvider", "manifest", "metadata", "name").GetStringValue(); got != tc.want.name && !strings.HasPrefix(got, tc.want.name+"-") {
					t.Errorf("%s\n%s: the target should be named after %s, not %s", tc.reason, n, tc.want.name, got)
				}
				// The provider makes no Object's target where its manifest does
				// not say, and Crossplane names Objects best.
				if got := at(o, "metadata", "name").GetStringValue(); got != "" && !strings.HasPrefix(n, "cache") {
					t.Errorf("%s\n%s: is named %s, though nobody needs to find it again", tc.reason, n, got)
				}
			}
			for k, s := range rsp.GetRequirements().GetResources() {
				if strings.HasPrefix(k, "recipes-") {
					// A label has the namespace: Objects of claims have none.
					continue
				}
				if diff := cmp.Diff(tc.want.namespace, s.GetNamespace()); diff != "" {
					t.Errorf("%s\nf.RunFunction(...): -want required namespace, +got required namespace:\n%s", tc.reason, diff)
				}
			}
			if diff := cmp.Diff(tc.want.generation, at(statusOf(rsp), "observedGeneration").GetNumberValue()); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want observedGeneration, +got observedGeneration:\n%s", tc.reason, diff)
			}
			for _, f := range []string{"apiVersion", "kind"} {
				if diff := cmp.Diff(at(w.xr, f).GetStringValue(), at(rsp.GetDesired().GetComposite().GetResource(), f).GetStringValue()); diff != "" {
					t.Errorf("%s\nf.RunFunction(...): -want composite's %s, +got composite's %s:\n%s", tc.reason, f, f, diff)
				}
			}
		})
	}
}

// TestGenerationsDoNotMix makes sure that each generation reads its own
// Objects only.
func TestGenerationsDoNotMix(t *testing.T) {
	claimed := runningWorld(t)
	namespaced := newWorld(xrNamespaced)
	namespaced.observed = claimed.observed
	if got := digestOf(namespaced.reconcile(t)).Resources; len(got) != 3 {
		t.Errorf("Objects of another generation are not ours to keep: %v", got)
	}
}

// TestNames makes sure that the longest of names, and those that only a
// composite can have, become names that all kinds can have.
func TestNames(t *testing.T) {
	cases := map[string]struct {
		reason string
		claim  string
	}{
		"Long":       {reason: "A claim may have 253 characters, a Service 63.", claim: strings.Repeat("a", 253)},
		"Dots":       {reason: "A Service's name has no dots.", claim: "chat.example.org"},
		"DigitFirst": {reason: "A Service's name starts with a letter.", claim: "7b"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(`{"metadata": {"name": "` + tc.claim + `", "labels": null}, "spec": {"claimRef": {"name": "` + tc.claim + `"}, "cache": {"enabled": true}}}`)
			rsp := w.reconcile(t)
			if len(rsp.GetDesired().GetResources()) != 4 {
				t.Fatalf("%s\nf.RunFunction(...): got %v, %v", tc.reason, digestOf(rsp).Resources, digestOf(rsp).Results)
			}
			for n, r := range rsp.GetDesired().GetResources() {
				checkName(t, n, r)
			}
		})
	}
}

func checkName(t *testing.T, resource string, r *fnv1.Resource) {
	t.Helper()
	m := at(r.GetResource(), "spec", "forProvider", "manifest").GetStructValue()
	name := at(m, "metadata", "name").GetStringValue()
	if len(name) > 63 || strings.ContainsAny(name, "._") || name == "" || name[0] < 'a' || name[0] > 'z' {
		t.Errorf("%s: %q is not a name that any kind can have", resource, name)
	}
	for k, v := range labels(m) {
		if len(v) > 63 {
			t.Errorf("%s: label %s is too long: %s", resource, k, v)
		}
	}
	if got := at(r.GetResource(), "metadata", "name").GetStringValue(); len(got) > 108 {
		t.Errorf("%s: the provider takes 108 characters of an Object's name, not %d", resource, len(got))
	}
}
