package render

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/aim-engine/function-aim/fn/agent"
)

// observe writes the composites and composed resources of the cases that go on
// where "fresh" ends: what was rendered there is applied, and works. Otherwise
// each change of a manifest would have to be made in each of them by hand, or
// else they would all show a rollout.
func observe(t *testing.T) {
	t.Helper()
	fresh := read(t, "testdata/fresh/want-2.yaml")
	xr := fresh[0]
	var objects []*unstructured.Unstructured
	for _, d := range fresh {
		if d.GetKind() == "Object" {
			// The server is not held back any more: its model is there.
			objects = append(objects, patched(d, `{"spec": {"managementPolicies": null}}`))
			if kindOf(d) == "PersistentVolumeClaim" {
				objects[len(objects)-1] = d
			}
		}
	}
	objects = append(objects, downloaded(objects))

	xr = composes(t, xr, objects[len(objects)-1])
	ready := patched(xr, `{"status": {"phase": "Ready", "reason": null, "replicas": {"current": 1, "desired": 1, "ready": 1, "available": 1}}}`)
	running := applied(t, objects, `{"spec": {"replicas": 1}, "status": {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}}`)

	write(t, "running/xr.yaml", "The composite of examples/qwen3-32b, once all that was composed works.", ready)
	write(t, "running/observed.yaml", "What the provider shows once all that was composed works.", running...)

	write(t, "keeps/xr.yaml", "The composite of examples/qwen3-32b, with a model that nobody knows.",
		patched(ready, `{"spec": {"model": {"id": "Qwen/Qwen4-32B"}}}`))
	write(t, "keeps/observed.yaml", "What the provider shows once all that was composed works.", running...)

	// Replicas have an Object of their own once they are not one.
	replicas := `{
		"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object",
		"metadata": {
			"name": "qwen3-32b-x7k2p-6b0e1c55a0a2",
			"annotations": {"crossplane.io/composition-resource-name": "replicas-object", "crossplane.io/external-name": "qwen3-32b"},
			"ownerReferences": null
		},
		"spec": {
			"forProvider": {"manifest": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "qwen3-32b", "namespace": "default"}, "spec": {"replicas": 2}}},
			"managementPolicies": ["Observe", "Update"],
			"providerConfigRef": {"name": "default"},
			"readiness": {"policy": "SuccessfulCreate"}
		}
	}`
	scaler := patched(objects[0], `{"spec": null}`, replicas)
	scaler.SetOwnerReferences(objects[0].GetOwnerReferences())
	two := composes(t, patched(ready, `{"spec": {"scaling": {"minReplicas": 2}}}`), scaler)
	rolling := make([]*unstructured.Unstructured, 0, len(objects)+1)
	for _, o := range objects {
		if kindOf(o) == "Deployment" {
			o = patched(o, `{"spec": {"forProvider": {"manifest": {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}}}}}`)
		}
		rolling = append(rolling, o)
	}
	write(t, "degraded/xr.yaml", "The composite of examples/qwen3-32b, scaled to two replicas.", two)
	write(t, "degraded/observed.yaml", "One of two replicas is available.",
		applied(t, append(rolling, scaler), `{"spec": {"replicas": 2}, "status": {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1, "unavailableReplicas": 1}}`)...)
}

// composes another resource.
func composes(t *testing.T, xr, o *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	out := xr.DeepCopy()
	refs, _, _ := unstructured.NestedSlice(out.Object, "spec", "resourceRefs")
	refs = append(refs, map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "name": o.GetName()})
	if err := unstructured.SetNestedSlice(out.Object, refs, "spec", "resourceRefs"); err != nil {
		t.Fatal(err)
	}
	return out
}

// downloaded is the Object of a Job that has downloaded the model to the volume
// among some Objects.
func downloaded(objects []*unstructured.Unstructured) *unstructured.Unstructured {
	d := agent.Download{Model: "Qwen/Qwen3-32B"}
	for i, o := range objects {
		if kindOf(o) == "PersistentVolumeClaim" {
			d.Volume = types.UID(uid(i))
		}
	}
	out := patched(objects[0], `{"spec": null}`, `{
		"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object",
		"metadata": {
			"name": "qwen3-32b-x7k2p-f82c0b163a28",
			"annotations": {"crossplane.io/composition-resource-name": "preload-1d9b14f5-object", "crossplane.io/external-name": "qwen3-32b-preload-1d9b14f5"}
		},
		"spec": {
			"forProvider": {"manifest": {
				"apiVersion": "batch/v1", "kind": "Job",
				"metadata": {"name": "qwen3-32b-preload-1d9b14f5", "namespace": "default", "labels": {"aim.engine.amd.com/download": "`+d.Key()+`"}},
				"spec": {"template": {"spec": {"containers": [{"name": "agent", "image": "registry.example.com/aim-engine/function-aim:v0.0.9"}], "restartPolicy": "Never"}}}
			}},
			"providerConfigRef": {"name": "default"},
			"readiness": {"policy": "SuccessfulCreate"},
			"watch": true
		}
	}`)
	out.SetOwnerReferences(objects[0].GetOwnerReferences())
	return out
}

// uid of the target of an Object among others.
func uid(i int) string { return fmt.Sprintf("10000000-0000-4000-8000-%012d", i+1) }

// applied Objects, as the provider shows them once it has applied what they
// hold. The patch is what the cluster makes of the Deployment.
func applied(t *testing.T, objects []*unstructured.Unstructured, deployment string) []*unstructured.Unstructured {
	t.Helper()
	made := map[string]string{
		"Deployment": `{"metadata": {"generation": 2}, "status": {"observedGeneration": 2, "conditions": [
			{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "Deployment has minimum availability."},
			{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
		]}}`,
		"Service":               `{"spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"]}, "status": {"loadBalancer": {}}}`,
		"PersistentVolumeClaim": `{"spec": {"storageClassName": "standard", "volumeMode": "Filesystem", "volumeName": "pvc-1"}, "status": {"phase": "Bound"}}`,
		"ConfigMap":             `{}`,
		"Job":                   `{"status": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True", "reason": "CompletionsReached"}]}}`,
	}
	targets := map[string]map[string]any{}
	out := make([]*unstructured.Unstructured, 0, len(objects))
	for i, o := range objects {
		m, _, _ := unstructured.NestedMap(o.Object, "spec", "forProvider", "manifest")
		kind := kindOf(o)
		if targets[kind] == nil {
			// A partial manifest's target is that of the whole one before it.
			u := patched(&unstructured.Unstructured{Object: m},
				fmt.Sprintf(`{"metadata": {"uid": "%s", "resourceVersion": "%d", "creationTimestamp": "2026-01-01T00:00:00Z"}}`, uid(i), 700+i), made[kind])
			if kind == "Deployment" {
				u = patched(u, deployment)
			}
			targets[kind] = u.Object
		}
		l := patched(o, fmt.Sprintf(`{
			"metadata": {"uid": "00000000-0000-4000-8000-%012d", "generation": 1},
			"status": {"conditions": [
				{"type": "Synced", "status": "True", "reason": "ReconcileSuccess", "lastTransitionTime": "2026-01-01T00:00:00Z"},
				{"type": "Ready", "status": "True", "reason": "Available", "lastTransitionTime": "2026-01-01T00:00:00Z"}
			]}
		}`, i+1))
		if err := unstructured.SetNestedMap(l.Object, targets[kind], "status", "atProvider", "manifest"); err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// kindOf an Object's target.
func kindOf(o *unstructured.Unstructured) string {
	k, _, _ := unstructured.NestedString(o.Object, "spec", "forProvider", "manifest", "kind")
	return k
}

// patched with JSON merge patches (RFC 7386).
func patched(u *unstructured.Unstructured, patches ...string) *unstructured.Unstructured {
	out := u.DeepCopy()
	for _, p := range patches {
		m := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(p), &m.Object); err != nil {
			panic(err)
		}
		merge(out.Object, m.Object)
	}
	return out
}

func merge(into, patch map[string]any) {
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(into, k)
		case map[string]any:
			sub, ok := into[k].(map[string]any)
			if !ok {
				sub = map[string]any{}
				into[k] = sub
			}
			merge(sub, v)
		default:
			into[k] = runtime.DeepCopyJSONValue(v)
		}
	}
}

func write(t *testing.T, file, comment string, docs ...*unstructured.Unstructured) {
	t.Helper()
	b := &bytes.Buffer{}
	fmt.Fprintf(b, "# %s\n# Written by go test ./test/render -update.\n", comment)
	for i, d := range docs {
		if i > 0 {
			b.WriteString("---\n")
		}
		y, err := yaml.Marshal(d.Object)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(y)
	}
	if err := os.WriteFile(filepath.Join("testdata", file), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
