// Package install tests the manifests in this folder, which are for kubectl.
package install

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	xpkgv1 "github.com/crossplane/crossplane/apis/v2/pkg/v1"
	xpkgv1beta1 "github.com/crossplane/crossplane/apis/v2/pkg/v1beta1"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// TestTypes makes sure that the manifests are what they say they are, down to
// the last field.
func TestTypes(t *testing.T) {
	cases := map[string]struct {
		reason string
		want   []runtime.Object
	}{
		"provider.yaml": {
			reason: "The provider must be able to find its runtime configuration.",
			want:   []runtime.Object{&xpkgv1.Provider{}, &xpkgv1beta1.DeploymentRuntimeConfig{}},
		},
		"provider-config.yaml": {
			reason: "There's one for each generation of Objects. Their Go types are another module's; see TestSchemas.",
			want:   []runtime.Object{&unstructured.Unstructured{}, &unstructured.Unstructured{}},
		},
		"provider-rbac.yaml": {
			reason: "The role is of no use without its binding.",
			want:   []runtime.Object{&rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{}},
		},
		"crossplane-rbac.yaml": {
			reason: "The role is bound by aggregation.",
			want:   []runtime.Object{&rbacv1.ClusterRole{}},
		},
		"function.yaml": {
			reason: "The function must be able to find its runtime configuration.",
			want:   []runtime.Object{&xpkgv1.Function{}, &xpkgv1beta1.DeploymentRuntimeConfig{}, &policyv1.PodDisruptionBudget{}},
		},
		"configuration.yaml": {
			reason: "The configuration has no runtime.",
			want:   []runtime.Object{&xpkgv1.Configuration{}},
		},
	}

	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if _, ok := cases[f]; !ok {
			t.Errorf("%s: no test says what this file holds", f)
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			decode(t, name, tc.want...)
			for _, o := range tc.want {
				if o.GetObjectKind().GroupVersionKind().Empty() {
					t.Errorf("\n%s\n%s: got a %T without a kind", tc.reason, name, o)
				}
			}
		})
	}
}

// TestReferences makes sure that what refers to each other by name does.
func TestReferences(t *testing.T) {
	p, prc := &xpkgv1.Provider{}, &xpkgv1beta1.DeploymentRuntimeConfig{}
	decode(t, "provider.yaml", p, prc)
	f, frc, pdb := &xpkgv1.Function{}, &xpkgv1beta1.DeploymentRuntimeConfig{}, &policyv1.PodDisruptionBudget{}
	decode(t, "function.yaml", f, frc, pdb)
	cr, crb := &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{}
	decode(t, "provider-rbac.yaml", cr, crb)
	// This label is on the pods of any function.
	pods := map[string]string{"pkg.crossplane.io/function": f.GetName()}

	cases := map[string]struct {
		reason string
		want   any
		got    any
	}{
		"ProviderRuntime": {
			reason: "The provider must run as its runtime configuration says.",
			want:   prc.GetName(),
			got:    p.Spec.RuntimeConfigReference.Name,
		},
		"FunctionRuntime": {
			reason: "The function must run as its runtime configuration says.",
			want:   frc.GetName(),
			got:    f.Spec.RuntimeConfigReference.Name,
		},
		"Role": {
			reason: "The binding must be one of the role in the same file.",
			want:   rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: cr.GetName()},
			got:    crb.RoleRef,
		},
		"Subject": {
			reason: "The role must be bound to the account that the provider runs as.",
			want:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: *prc.Spec.ServiceAccountTemplate.Metadata.Name, Namespace: "crossplane-system"}},
			got:    crb.Subjects,
		},
		"Budget": {
			reason: "The disruption budget must be one for the function's pods.",
			want:   pods,
			got:    pdb.Spec.Selector.MatchLabels,
		},
		"Spread": {
			reason: "The function's pods must be spread relative to each other.",
			want:   pods,
			got:    frc.Spec.DeploymentTemplate.Spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.got); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}

	t.Run("Compositions", func(t *testing.T) {
		files, err := filepath.Glob("../../compositions/*.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, doc := range documents(t, file) {
				c := struct {
					Spec struct {
						Pipeline []struct {
							FunctionRef struct{ Name string }
						}
					}
				}{}
				if err := yaml.Unmarshal(doc, &c); err != nil {
					t.Fatal(err)
				}
				if len(c.Spec.Pipeline) == 0 || c.Spec.Pipeline[0].FunctionRef.Name != f.GetName() {
					t.Errorf("%s: want a pipeline that begins with function %s, got %v", file, f.GetName(), c.Spec.Pipeline)
				}
			}
		}
	})
}

// TestSecurity makes sure that the function's pods are admitted wherever Pod
// Security is at its strictest.
func TestSecurity(t *testing.T) {
	rc := &xpkgv1beta1.DeploymentRuntimeConfig{}
	decode(t, "function.yaml", &xpkgv1.Function{}, rc, &policyv1.PodDisruptionBudget{})
	pod := rc.Spec.DeploymentTemplate.Spec.Template.Spec
	if len(pod.Containers) != 1 || pod.Containers[0].Name != "package-runtime" {
		t.Fatalf("want one container that's called package-runtime, got %v", pod.Containers)
	}
	type security struct {
		NonRoot, ReadOnly, Escalation, Privileged, Token bool
		Seccomp                                          corev1.SeccompProfileType
		Drop                                             []corev1.Capability
	}
	sc := pod.Containers[0].SecurityContext
	got := security{
		NonRoot:    *pod.SecurityContext.RunAsNonRoot && *pod.SecurityContext.RunAsUser > 0,
		Seccomp:    pod.SecurityContext.SeccompProfile.Type,
		ReadOnly:   *sc.ReadOnlyRootFilesystem,
		Escalation: *sc.AllowPrivilegeEscalation,
		Privileged: *sc.Privileged,
		Token:      *pod.AutomountServiceAccountToken,
		Drop:       sc.Capabilities.Drop,
	}
	want := security{NonRoot: true, ReadOnly: true, Seccomp: corev1.SeccompProfileTypeRuntimeDefault, Drop: []corev1.Capability{"ALL"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

// decode a file's documents into the supplied objects, and fail if there are
// more or fewer, or fields that those don't have.
func decode(t *testing.T, file string, into ...runtime.Object) {
	t.Helper()
	docs := documents(t, file)
	if len(docs) != len(into) {
		t.Fatalf("%s: want %d documents, got %d", file, len(into), len(docs))
	}
	for i, doc := range docs {
		if err := yaml.UnmarshalStrict(doc, into[i]); err != nil {
			t.Fatalf("%s: cannot decode document %d: %v", file, i, err)
		}
	}
}

// documents in a YAML file.
func documents(t *testing.T, file string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b)))
	docs := make([][]byte, 0)
	for {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(bytes.TrimSpace(doc)) > 0 {
			docs = append(docs, doc)
		}
	}
}
