package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/aim-engine/function-aim/fn/cache"
)

// xrModels is the composite of a claim for an AIMCache named models in the
// namespace team-a, as the API server has it with its defaults.
const xrModels = `{
	"apiVersion": "aim.engine.amd.com/v1alpha1",
	"kind": "XAIMCache",
	"metadata": {
		"name": "models-m3x9z",
		"generation": 2,
		"labels": {"crossplane.io/claim-name": "models", "crossplane.io/claim-namespace": "team-a"}
	},
	"spec": {
		"claimRef": {"apiVersion": "aim.engine.amd.com/v1alpha1", "kind": "AIMCache", "namespace": "team-a", "name": "models"},
		"storage": {"size": "100Gi", "accessMode": "ReadWriteMany", "mountPath": "/workspace/model-cache"}
	}
}`

const (
	nameVolume    = "volume-object"
	nameInventory = "inventory-object"
	nameCleanup   = "cleanup-object"

	// withAgent is the input of a platform that lets caches be filled.
	withAgent = `{"agentImage": "localhost:5000/function-aim:v1"}`
	// preloading is a cache with a model to download, and cleaning one that is
	// cleaned up.
	preloading = `{"spec": {"models": [{"id": "Qwen/Qwen3-8B", "preload": true}]}}`
	cleaning   = `{"spec": {"cleanup": {"enabled": true}}}`

	modelCommit = "0123456789abcdef0123456789abcdef01234567"

	condVolume    = "CacheReady=TRUE Bound: the volume models-storage of 100Gi is bound"
	condNoPreload = "ModelsReady=TRUE Disabled: no model has preload: each is downloaded by the first endpoint that needs it"
	condNoCleanup = "CleanupReady=TRUE Disabled: cleanup.enabled is false: nothing is ever evicted"
)

// cacheWorld in which there is only a composite: xrModels, with merge patches.
func cacheWorld(patches ...string) *world {
	w := newWorld()
	w.xr = merged(resource.MustStructJSON(xrModels), patches...)
	w.input = resource.MustStructJSON(withAgent)
	return w
}

// runningCache is one all of which is there, and has been reported.
func runningCache(tb testing.TB, patches ...string) *world {
	tb.Helper()
	w := cacheWorld(patches...)
	for range 2 {
		w.provide(tb, w.reconcile(tb), nil)
	}
	return w
}

// claimOfCache is what an endpoint sees of the cache, with merge patches.
func claimOfCache(patches ...string) *structpb.Struct {
	return merged(resource.MustStructJSON(`{
		"apiVersion": "aim.engine.amd.com/v1alpha1", "kind": "AIMCache", "metadata": {"name": "models", "namespace": "team-a"},
		"spec": {"storage": {"size": "100Gi", "accessMode": "ReadWriteMany", "mountPath": "/models"}, "models": [{"id": "Qwen/Qwen3-8B", "priority": "medium", "preload": true}]},
		"status": {"storage": {"pvcName": "models-storage", "pvcPhase": "Bound"}}
	}`), patches...)
}

// hasModel is a merge patch of a claim for a cache that has the model.
const hasModel = `{"status": {"cachedModels": [{"id": "Qwen/Qwen3-8B", "revision": "main", "commit": "` + modelCommit + `", "status": "Cached"}]}}`

// usingCache is a merge patch of an endpoint that uses the cache.
const usingCache = `{"spec": {"cache": {"name": "models"}}}`

// cacheUser is the Object by which an endpoint tells that it uses the cache.
func cacheUser(tb testing.TB, name string, patches ...string) *structpb.Struct {
	tb.Helper()
	w := newWorld(append([]string{fmt.Sprintf(`{"metadata": {"name": "%[1]s-x", "labels": {"crossplane.io/claim-name": %[1]q}}, "spec": {"claimRef": {"name": %[1]q}}}`, name), usingCache}, patches...)...)
	w.cluster = []*structpb.Struct{claimOfCache()}
	rsp := w.reconcile(tb)
	o := rsp.GetDesired().GetResources()[nameConfig].GetResource()
	if o == nil {
		tb.Fatalf("the endpoint does not run: %v", digestOf(rsp).Conditions)
	}
	return o
}

// measuredBy an agent: what is on a volume, as a merge patch of the ConfigMap's Object: its JSON is
// what an agent writes.
func measuredBy(tb testing.TB, models string) string {
	tb.Helper()
	doc := `{"version": "v1", "measuredAt": "2026-03-01T12:00:00Z", "volume": {"capacityBytes": 107374182400, "availableBytes": 85899345920, "usedBytes": 21474836480}, "models": [` + models + `]}`
	b, err := json.Marshal(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return live(fmt.Sprintf(`{"data": {"inventory.json": %s}}`, b))
}

func inInventory(id, revision, status string) string {
	return fmt.Sprintf(`{"id": %q, "revision": %q, "commit": %q, "status": %q, "sizeBytes": 1073741824, "totalBytes": 4294967296}`, id, revision, modelCommit, status)
}

// jobIs is a merge patch of a Job's Object: the Job has a condition.
func jobIs(condition, message string) string {
	return live(fmt.Sprintf(`{"status": {"conditions": [{"type": %q, "status": "True", "message": %q}]}}`, condition, message))
}

// preloadNames of composed resources.
func preloadNames(rsp *fnv1.RunFunctionResponse) []string {
	var out []string
	for _, n := range slices.Sorted(maps.Keys(rsp.GetDesired().GetResources())) {
		if strings.HasPrefix(n, string(cache.RolePreload)) {
			out = append(out, n)
		}
	}
	return out
}

func preloadName(tb testing.TB, rsp *fnv1.RunFunctionResponse) string {
	tb.Helper()
	names := preloadNames(rsp)
	if len(names) != 1 {
		tb.Fatalf("want one preload, got %v", names)
	}
	return names[0]
}

func TestCache(t *testing.T) {
	type want struct {
		digest digest
		phase  string
		reason string
		usedBy []string
	}
	// all that each cache has, and what is on top of it.
	all := func(more ...string) []string {
		out := append([]string{"account-object TRUE", "inventory-object TRUE", "role-object TRUE", "rolebinding-object TRUE", "volume-object TRUE"}, more...)
		slices.Sort(out)
		return out
	}
	// The binding comes once its Role is there.
	fresh := []string{"account-object TRUE", "inventory-object TRUE", "role-object TRUE", "volume-object TRUE"}
	unbound := "CacheReady=FALSE WaitingForConsumer: the PersistentVolumeClaim models-storage is not bound yet; with some storage classes that waits for a pod"
	badSchedule := `{"spec": {"cleanup": {"schedule": "at night"}}}`
	const invalid = `CacheReady=FALSE Invalid: spec.cleanup.schedule: "at night" is no schedule of cron: expected exactly 5 fields, found 2: [at night]; an example is 0 3 * * *; until then all stays as it is`
	pendingOf := func(class string) string {
		return live(`{"spec": {"storageClassName": "` + class + `"}, "status": {"phase": "Pending"}}`)
	}
	refusedOf := func(class string) string {
		return `{"status": {"conditions": [{"type": "Synced", "status": "False", "message": "spec is immutable"}],
			"atProvider": {"manifest": {"spec": {"storageClassName": "` + class + `"}, "status": {"phase": "Pending"}}}}}`
	}
	const noClass = `there is no StorageClass "fsat", so that no volume is made for the PersistentVolumeClaim models-storage; set storage.storageClass to one of those that kubectl get storageclass shows, and delete the PersistentVolumeClaim models-storage, which holds nothing yet`
	const otherClass = `storage.storageClass cannot change from "standard" to "fast"; delete the PersistentVolumeClaim models-storage, which holds nothing yet`
	const noAgent = "CacheReady=FALSE Invalid: spec.models[].preload and spec.cleanup.enabled need the agent: the platform has to set agentImage in the input of the cache's Composition; until then all stays as it is"
	cases := map[string]struct {
		reason string
		world  func(t *testing.T) *world
		want   want
	}{
		"Fresh": {
			reason: "A cache without anything to download is as ready as it gets: its volume may wait for an endpoint's pod.",
			world:  func(*testing.T) *world { return cacheWorld() },
			want:   want{digest{Ready: "TRUE", Resources: fresh, Conditions: []string{unbound, condNoPreload, condNoCleanup}}, "Pending", "WaitingForConsumer", nil},
		},
		"Ready": {
			reason: "A volume that is bound is ready.",
			world:  func(t *testing.T) *world { t.Helper(); return runningCache(t) },
			want:   want{digest{Ready: "TRUE", Resources: all(), Conditions: []string{condVolume, condNoPreload, condNoCleanup}}, "Ready", "", nil},
		},
		"OnOldCrossplane": {
			reason: "Crossplane 1.20 cannot tell who else has our names.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningCache(t)
				w.old = true
				return w
			},
			want: want{digest{Ready: "TRUE", Resources: all(), Conditions: []string{condVolume, condNoPreload, condNoCleanup}}, "Ready", "", nil},
		},
		"Invalid": {
			reason: "What the API server would refuse should never be composed.",
			world:  func(*testing.T) *world { return cacheWorld(badSchedule) },
			want:   want{digest{Ready: "FALSE", Conditions: []string{invalid}}, "Failed", "Invalid", nil},
		},
		"BecameInvalid": {
			reason: "And what is there should stay, and be measured.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningCache(t)
				w.xr = merged(w.xr, badSchedule)
				return w
			},
			want: want{digest{
				Ready: "FALSE", Resources: all(), Conditions: []string{invalid},
				Results: []string{"NORMAL CacheFailed: the cache is Failed: " + strings.TrimPrefix(invalid, "CacheReady=FALSE Invalid: ")},
			}, "Failed", "Invalid", nil},
		},
		"InvalidInUse": {
			reason: "A cache that became invalid should be protected from the moment on that it is used.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cacheWorld(badSchedule)
				w.cluster = []*structpb.Struct{cacheUser(t, "chat")}
				return w
			},
			want: want{digest{Ready: "FALSE", Resources: []string{"protection-object TRUE"}, Conditions: []string{invalid}}, "Failed", "Invalid", []string{"team-a/chat"}},
		},
		"InvalidNotInUseAnyMore": {
			reason: "And not any longer than it is: nobody could delete it.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cacheWorld()
				w.cluster = []*structpb.Struct{cacheUser(t, "chat")}
				for range 2 {
					w.provide(t, w.reconcile(t), nil)
				}
				w.cluster = nil
				w.xr = merged(w.xr, badSchedule, `{"status": {"phase": null}}`)
				return w
			},
			want: want{digest{Ready: "FALSE", Resources: all(), Conditions: []string{invalid}}, "Failed", "Invalid", nil},
		},
		"NoAgentToPreload": {
			reason: "Who has to do something about a missing image is the platform team.",
			world: func(*testing.T) *world {
				w := cacheWorld(preloading)
				w.input = nil
				return w
			},
			want: want{digest{Ready: "FALSE", Conditions: []string{noAgent}}, "Failed", "Invalid", nil},
		},
		"NoAgentToClean": {
			reason: "A clean-up needs one, too.",
			world: func(*testing.T) *world {
				w := cacheWorld(cleaning)
				w.input = nil
				return w
			},
			want: want{digest{Ready: "FALSE", Conditions: []string{noAgent}}, "Failed", "Invalid", nil},
		},
		"NoAgentNeeded": {
			reason: "A cache that servers fill needs none.",
			world: func(*testing.T) *world {
				w := cacheWorld()
				w.input = nil
				return w
			},
			want: want{digest{Ready: "TRUE", Resources: fresh, Conditions: []string{unbound, condNoPreload, condNoCleanup}}, "Pending", "WaitingForConsumer", nil},
		},
		"Conflict": {
			reason: "Nothing of anybody else should be taken over, and then nothing else be composed.",
			world: func(*testing.T) *world {
				w := cacheWorld(preloading, cleaning)
				w.cluster = []*structpb.Struct{resource.MustStructJSON(`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "models-cache-agent", "namespace": "team-a", "labels": {"app.kubernetes.io/managed-by": "Helm"}}}`)}
				return w
			},
			want: want{digest{Ready: "FALSE", Conditions: []string{
				"CacheReady=FALSE NameConflict: there is already a Role models-cache-agent in namespace team-a that is not of this cache; delete it, or give the cache another name",
			}}, "Failed", "NameConflict", nil},
		},
		"VolumeOfAnother": {
			reason: "A volume of somebody else least of all.",
			world: func(*testing.T) *world {
				w := cacheWorld()
				w.cluster = []*structpb.Struct{resource.MustStructJSON(`{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models-storage", "namespace": "team-a"}}`)}
				return w
			},
			want: want{digest{Ready: "FALSE", Conditions: []string{
				"CacheReady=FALSE NameConflict: there is already a PersistentVolumeClaim models-storage in namespace team-a that is not of this cache; delete it, or give the cache another name",
			}}, "Failed", "NameConflict", nil},
		},
		"RetainedVolume": {
			reason: "One that an earlier cache of this name left is what this one should go on with.",
			world: func(*testing.T) *world {
				w := cacheWorld()
				w.cluster = []*structpb.Struct{resource.MustStructJSON(`{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models-storage", "namespace": "team-a", "labels": {
					"app.kubernetes.io/managed-by": "function-aim", "aim.engine.amd.com/cache": "models", "aim.engine.amd.com/composite": "models-old"
				}}}`)}
				return w
			},
			want: want{digest{Ready: "TRUE", Resources: fresh, Conditions: []string{unbound, condNoPreload, condNoCleanup}}, "Pending", "WaitingForConsumer", nil},
		},
		"InUse": {
			reason: "A cache in use should be protected, and name its users, each once.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningCache(t)
				w.cluster = []*structpb.Struct{cacheUser(t, "talk"), cacheUser(t, "chat"), cacheUser(t, "chat")}
				return w
			},
			want: want{digest{Ready: "TRUE", Resources: all("protection-object TRUE"), Conditions: []string{condVolume, condNoPreload, condNoCleanup}}, "Ready", "", []string{"team-a/chat", "team-a/talk"}},
		},
		"InUseOnOldCrossplane": {
			reason: "Crossplane before 2 has no such Usage: composing one would wedge the cache.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningCache(t)
				w.cluster, w.old = []*structpb.Struct{cacheUser(t, "chat")}, true
				return w
			},
			want: want{digest{Ready: "TRUE", Resources: all(), Conditions: []string{condVolume, condNoPreload, condNoCleanup}}, "Ready", "", []string{"team-a/chat"}},
		},
		"UserGoes": {
			reason: "An endpoint that is being deleted uses it no more.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningCache(t)
				w.cluster = []*structpb.Struct{merged(cacheUser(t, "chat"), `{"metadata": {"deletionTimestamp": "2026-03-01T12:00:00Z"}}`)}
				return w
			},
			want: want{digest{Ready: "TRUE", Resources: all(), Conditions: []string{condVolume, condNoPreload, condNoCleanup}}, "Ready", "", nil},
		},
		"UserOfAnother": {
			reason: "Who uses another cache is of no interest.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningCache(t)
				w.cluster = []*structpb.Struct{merged(cacheUser(t, "chat"), `{"metadata": {"labels": {"aim.engine.amd.com/uses-cache": "team-b.models"}}}`)}
				return w
			},
			want: want{digest{Ready: "TRUE", Resources: all(), Conditions: []string{condVolume, condNoPreload, condNoCleanup}}, "Ready", "", nil},
		},
		"NoClass": {
			reason: "A typo in the name of a class should be told, and not be taken for a volume that waits for a pod.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cacheWorld()
				w.provide(t, w.reconcile(t), map[string]string{nameVolume: pendingOf("fsat")})
				return w
			},
			want: want{digest{
				Ready: "FALSE", Resources: all(),
				Results:    []string{"NORMAL CacheFailed: the cache is Failed: " + noClass},
				Conditions: []string{"CacheReady=FALSE StorageClassNotFound: " + noClass, condNoPreload, condNoCleanup},
			}, "Failed", "StorageClassNotFound", nil},
		},
		"OtherClass": {
			reason: "A volume that is not bound cannot be used as it is, and that the API server refuses another one is no news.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cacheWorld(`{"spec": {"storage": {"storageClass": "fast"}}}`)
				w.provide(t, w.reconcile(t), map[string]string{nameVolume: pendingOf("standard")})
				w.provide(t, w.reconcile(t), map[string]string{nameVolume: refusedOf("standard")})
				w.cluster = []*structpb.Struct{resource.MustStructJSON(classExpandable)}
				return w
			},
			want: want{digest{
				Ready: "FALSE", Resources: []string{"account-object TRUE", "inventory-object TRUE", "role-object TRUE", "rolebinding-object TRUE", "volume-object FALSE"},
				Results:    []string{"NORMAL CacheDegraded: the cache is Degraded: " + otherClass},
				Conditions: []string{"CacheReady=FALSE StorageClassImmutable: " + otherClass, condNoPreload, condNoCleanup},
			}, "Degraded", "StorageClassImmutable", nil},
		},
		"Refused": {
			reason: "What the API server refuses should be told, in its own words.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := cacheWorld(cleaning)
				w.provide(t, w.reconcile(t), map[string]string{nameCleanup: notSynced("exceeded quota")})
				return w
			},
			want: want{
				digest{
					Ready: "UNSPECIFIED", Resources: all("cleanup-object FALSE"), Results: []string{"NORMAL CacheFailed: the cache is Failed: cannot apply the cleanup: exceeded quota"},
					Conditions: []string{condVolume, condNoPreload, "CleanupReady=FALSE ApplyFailed: cannot apply the cleanup: exceeded quota"},
				}, "Failed", "ApplyFailed", nil,
			},
		},
		"Shrunk": {
			reason: "A cache whose volume is larger than it should be can be used.",
			world: func(t *testing.T) *world {
				t.Helper()
				w := runningCache(t)
				w.xr = merged(w.xr, `{"spec": {"storage": {"size": "50Gi"}}}`)
				return w
			},
			want: want{
				digest{Ready: "TRUE", Resources: all(), Results: []string{"NORMAL CacheDegraded: the cache is Degraded: a volume cannot shrink: it stays at 100Gi, storage.size says 50Gi"}, Conditions: []string{
					"CacheReady=FALSE ShrinkIgnored: a volume cannot shrink: it stays at 100Gi, storage.size says 50Gi", condNoPreload, condNoCleanup,
				}}, "Degraded", "ShrinkIgnored", nil,
			},
		},
		"WithoutClaim": {
			reason: "A cache without a claim is kept where the platform says.",
			world: func(*testing.T) *world {
				w := cacheWorld(`{"metadata": {"name": "models", "labels": null}, "spec": {"claimRef": null}}`)
				w.input = resource.MustStructJSON(`{"namespace": "shared"}`)
				return w
			},
			want: want{digest{Ready: "TRUE", Resources: fresh, Conditions: []string{unbound, condNoPreload, condNoCleanup}}, "Pending", "WaitingForConsumer", nil},
		},
		"NoNamespace": {
			reason: "Without a claim and a namespace there is nowhere to keep it.",
			world: func(*testing.T) *world {
				return cacheWorld(`{"metadata": {"labels": null}, "spec": {"claimRef": null}}`)
			},
			want: want{digest: digest{
				Ready: "UNSPECIFIED",
				Conditions: []string{
					`CacheReady=FALSE ApplyFailed: cannot tell which namespace to compose into: XAIMCache "models-m3x9z" has no claim; create an AIMCache instead, or set namespace in this step's input; what runs stays as it is`,
				},
				Results: []string{`FATAL : cannot tell which namespace to compose into: XAIMCache "models-m3x9z" has no claim; create an AIMCache instead, or set namespace in this step's input (not on the claim)`},
			}},
		},
		"BadInput": {
			reason: "An image that no pod could have should be refused at once.",
			world: func(*testing.T) *world {
				w := cacheWorld()
				w.input = resource.MustStructJSON(`{"agentImage": "a b"}`)
				return w
			},
			want: want{digest: digest{
				Ready: "UNSPECIFIED",
				Conditions: []string{
					`CacheReady=FALSE ApplyFailed: cannot use the input of this pipeline step: invalid: agentImage: Invalid value: "a b": must be an image with its tag or digest; what runs stays as it is`,
				},
				Results: []string{`FATAL : cannot use the input of this pipeline step: invalid: agentImage: Invalid value: "a b": must be an image with its tag or digest (not on the claim)`},
			}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rsp := tc.world(t).reconcile(t)
			got := want{digest: digestOf(rsp)}
			if s := statusOf(rsp); s != nil {
				got.phase, got.reason = at(s, "phase").GetStringValue(), at(s, "reason").GetStringValue()
				for _, u := range at(s, "usedBy").GetListValue().GetValues() {
					got.usedBy = append(got.usedBy, u.GetStringValue())
				}
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestCacheObjects compares the Objects that are not like all others, as a
// whole.
func TestCacheObjects(t *testing.T) {
	w := cacheWorld()
	w.cluster = []*structpb.Struct{cacheUser(t, "chat")}
	composed := w.reconcile(t).GetDesired().GetResources()
	got := map[string]*fnv1.Resource{nameVolume: composed[nameVolume], nameInventory: composed[nameInventory], nameProtection: composed[nameProtection]}
	labels := `"labels": {"aim.engine.amd.com/cache": "models", "aim.engine.amd.com/composite": "models-m3x9z", "app.kubernetes.io/managed-by": "function-aim"}`
	want := map[string]*fnv1.Resource{
		nameVolume: {Ready: fnv1.Ready_READY_TRUE, Resource: resource.MustStructJSON(fmt.Sprintf(`{
			"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object",
			"metadata": {"name": "aim-storage-team-a-models-035286894849e0df", "annotations": {"crossplane.io/external-name": "models-storage"}},
			"spec": {
				"providerConfigRef": {"name": "default"}, "watch": true, "managementPolicies": ["Observe", "Create", "Update"],
				"readiness": {"policy": "DeriveFromCelQuery", "celQuery": "has(object.status.phase) && object.status.phase == \"Bound\""},
				"forProvider": {"manifest": {
					"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models-storage", "namespace": "team-a", %s},
					"spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "100Gi"}}}
				}}
			}
		}`, labels))},
		nameInventory: {Ready: fnv1.Ready_READY_TRUE, Resource: resource.MustStructJSON(fmt.Sprintf(`{
			"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object",
			"metadata": {"annotations": {"crossplane.io/external-name": "models-inventory"}},
			"spec": {
				"providerConfigRef": {"name": "default"}, "watch": true, "readiness": {"policy": "SuccessfulCreate"},
				"forProvider": {"manifest": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "models-inventory", "namespace": "team-a", %s}}}
			}
		}`, labels))},
		nameProtection: {Ready: fnv1.Ready_READY_TRUE, Resource: resource.MustStructJSON(`{
			"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object",
			"metadata": {"annotations": {"crossplane.io/external-name": "aim-cache-team-a-models-035286894849e0df"}},
			"spec": {
				"providerConfigRef": {"name": "default"}, "readiness": {"policy": "SuccessfulCreate"},
				"forProvider": {"manifest": {
					"apiVersion": "protection.crossplane.io/v1beta1", "kind": "Usage",
					"metadata": {"name": "aim-cache-team-a-models-035286894849e0df", "namespace": "team-a", "labels": {"aim.engine.amd.com/composite": "models-m3x9z", "app.kubernetes.io/managed-by": "function-aim"}},
					"spec": {"of": {"apiVersion": "aim.engine.amd.com/v1alpha1", "kind": "AIMCache", "resourceRef": {"name": "models"}}, "reason": "1 endpoint uses it: team-a/chat"}
				}}
			}
		}`)},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("f.RunFunction(...): -want composed resources, +got composed resources:\n%s", diff)
	}
}

// TestCacheNamespaced makes sure that a namespaced composite composes what it
// can own, under other names.
func TestCacheNamespaced(t *testing.T) {
	w := cacheWorld(preloading, cleaning, `{"kind": "AIMCache", "metadata": {"name": "models", "namespace": "team-a", "labels": null}, "spec": {"claimRef": null, "crossplane": {}}}`)
	for range 2 {
		w.provide(t, w.reconcile(t), nil)
	}
	rsp := w.reconcile(t)
	for n, r := range rsp.GetDesired().GetResources() {
		if v := at(r.GetResource(), "apiVersion").GetStringValue(); v != "kubernetes.m.crossplane.io/v1alpha1" || !strings.HasSuffix(n, "-object-m") {
			t.Errorf("%s is of %s", n, v)
		}
	}
	if diff := cmp.Diff(7, len(rsp.GetDesired().GetResources())); diff != "" {
		t.Errorf("-want resources, +got resources:\n%s", diff)
	}
	if diff := cmp.Diff(float64(2), at(statusOf(rsp), "observedGeneration").GetNumberValue()); diff != "" {
		t.Errorf("Without a claim the generation is the composite's: -want, +got:\n%s", diff)
	}
}

// TestCacheSteady makes sure that with nothing changing nothing is written.
func TestCacheSteady(t *testing.T) {
	cases := map[string]struct {
		reason  string
		patches []string
		// seen of the inventory, and of the preload's Job.
		inventory, job string
		users          bool
		old            bool
	}{
		"Fresh":       {reason: "There may be nothing on a volume for days.", patches: []string{preloading}},
		"Downloading": {reason: "A download may take hours.", patches: []string{preloading}, inventory: inInventory("Qwen/Qwen3-8B", "main", "Downloading")},
		"Cached":      {reason: "All is as it should be.", patches: []string{preloading, cleaning}, inventory: inInventory("Qwen/Qwen3-8B", "main", "Cached"), job: jobIs("Complete", "")},
		"Failed":      {reason: "A failure may go unnoticed for days.", patches: []string{preloading}, inventory: inInventory("Qwen/Qwen3-8B", "main", "Failed"), job: jobIs("Failed", "why")},
		"InUse":       {reason: "A cache may be used for ever.", patches: []string{preloading, cleaning}, users: true},
		"Invalid":     {reason: "A mistake may stay.", patches: []string{`{"spec": {"cleanup": {"schedule": "at night"}}}`}},
		"Old":         {reason: "Crossplane 1.20 runs us each minute.", patches: []string{preloading, cleaning}, old: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := cacheWorld(tc.patches...)
			w.old = tc.old
			if tc.users {
				w.cluster = []*structpb.Struct{cacheUser(t, "talk"), cacheUser(t, "chat")}
			}
			for range 3 {
				rsp := w.reconcile(t)
				seen := map[string]string{}
				if tc.inventory != "" {
					seen[nameInventory] = measuredBy(t, tc.inventory)
				}
				for _, n := range preloadNames(rsp) {
					if tc.job != "" {
						seen[n] = tc.job
					}
				}
				w.provide(t, rsp, seen)
			}
			wantSteady(t, w, tc.reason)
		})
	}
}

// TestCacheLife follows a cache from its first download to the next.
func TestCacheLife(t *testing.T) {
	w := cacheWorld(preloading)
	type want struct {
		Phase, Models string
		Results       []string
	}
	step := func(reason string, want want) *fnv1.RunFunctionResponse {
		t.Helper()
		rsp := w.reconcile(t)
		got := want
		got.Phase, got.Models, got.Results = at(statusOf(rsp), "phase").GetStringValue(), "", digestOf(rsp).Results
		for _, m := range at(statusOf(rsp), "cachedModels").GetListValue().GetValues() {
			f := m.GetStructValue().GetFields()
			got.Models += fmt.Sprintf("%s@%s %s;", f["id"].GetStringValue(), f["revision"].GetStringValue(), f["status"].GetStringValue())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", reason, diff)
		}
		return rsp
	}

	rsp := step("It waits for its volume.", want{"Pending", "Qwen/Qwen3-8B@main Pending;", nil})
	if diff := cmp.Diff([]string(nil), preloadNames(rsp)); diff != "" {
		t.Errorf("A download is for a volume that is there: -want Jobs, +got Jobs:\n%s", diff)
	}
	w.provide(t, rsp, nil)
	rsp = step("The volume is there, and nothing on it.", want{"Preloading", "Qwen/Qwen3-8B@main Pending;", []string{"NORMAL CachePreloading: the cache is Preloading: still to come: Qwen/Qwen3-8B"}})
	if diff := cmp.Diff([]string(nil), preloadNames(rsp)); diff != "" {
		t.Errorf("An agent that may not write its inventory yet would fail: -want Jobs, +got Jobs:\n%s", diff)
	}
	w.provide(t, rsp, nil)
	rsp = step("The agent may write what it measures.", want{"Preloading", "Qwen/Qwen3-8B@main Pending;", nil})
	first := preloadName(t, rsp)
	w.provide(t, rsp, map[string]string{nameInventory: measuredBy(t, inInventory("Qwen/Qwen3-8B", "main", "Downloading"))})
	rsp = step("The agent says how far it is.", want{"Preloading", "Qwen/Qwen3-8B@main Downloading;", nil})
	has := measuredBy(t, inInventory("Qwen/Qwen3-8B", "main", "Cached"))
	w.provide(t, rsp, map[string]string{nameInventory: has, first: jobIs("Complete", "")})
	rsp = step("It is there.", want{"Ready", "Qwen/Qwen3-8B@main Cached;", []string{"NORMAL CacheReady: the cache is Ready"}})
	job := rsp.GetDesired().GetResources()[first]
	w.provide(t, rsp, map[string]string{nameInventory: has, first: jobIs("Complete", "")})
	rsp = step("It stays.", want{"Ready", "Qwen/Qwen3-8B@main Cached;", nil})
	if diff := cmp.Diff(job, rsp.GetDesired().GetResources()[first], protocmp.Transform()); diff != "" {
		t.Errorf("A finished Job should stay as it is: -before, +after:\n%s", diff)
	}

	w.xr = merged(w.xr, `{"spec": {"models": [{"id": "Qwen/Qwen3-8B", "revision": "v2", "preload": true}]}}`)
	rsp = step("The user wants another revision.", want{"Preloading", "Qwen/Qwen3-8B@v2 Pending;Qwen/Qwen3-8B@main Cached;", []string{"NORMAL CachePreloading: the cache is Preloading: still to come: Qwen/Qwen3-8B"}})
	second := preloadName(t, rsp)
	if second == first {
		t.Errorf("Another revision should have another Job: got %s twice", first)
	}
	w.provide(t, rsp, map[string]string{nameInventory: has, second: jobIs("Failed", "Pod failed with exit code 3")})
	rsp = step("There is no such revision.", want{"Degraded", "Qwen/Qwen3-8B@v2 Failed;Qwen/Qwen3-8B@main Cached;", []string{
		"NORMAL CacheDegraded: the cache is Degraded: Qwen/Qwen3-8B: the Job models-" + strings.TrimSuffix(second, "-object") + " failed: Pod failed with exit code 3. To try again, delete the Job models-" + strings.TrimSuffix(second, "-object"),
	}})
	w.provide(t, rsp, map[string]string{nameInventory: has, second: jobIs("Failed", "Pod failed with exit code 3")})
	rsp = step("That stays visible, and the failed Job is there to look at.", want{"Degraded", "Qwen/Qwen3-8B@v2 Failed;Qwen/Qwen3-8B@main Cached;", nil})
	if diff := cmp.Diff([]string{second}, preloadNames(rsp)); diff != "" {
		t.Errorf("-want Jobs, +got Jobs:\n%s", diff)
	}
	w.xr = merged(w.xr, `{"spec": {"models": [{"id": "Qwen/Qwen3-8B", "revision": "v3", "preload": true}]}}`)
	rsp = step("The user mends it.", want{"Preloading", "Qwen/Qwen3-8B@v3 Pending;Qwen/Qwen3-8B@main Cached;", []string{"NORMAL CachePreloading: the cache is Preloading: still to come: Qwen/Qwen3-8B"}})
	if n := preloadName(t, rsp); n == first || n == second {
		t.Errorf("What failed should be tried again by a Job of its own: got %s", n)
	}
}

// TestCacheJobs is about Jobs that are not what a render of today would make.
func TestCacheJobs(t *testing.T) {
	w := runningCache(t, preloading)
	first := preloadName(t, w.reconcile(t))
	w.provide(t, w.reconcile(t), map[string]string{first: jobIs("Complete", "")})
	job := w.reconcile(t).GetDesired().GetResources()[first].GetResource()

	cases := map[string]struct {
		reason string
		// input and spec that have changed, and what is seen.
		input, spec string
		seen        map[string]string
		// same Job as before.
		same bool
	}{
		"Same":  {reason: "With nothing changing it stays.", same: true},
		"Image": {reason: "A new version of the agent downloads nothing again.", input: `{"agentImage": "localhost:5000/function-aim:v2"}`, same: true},
		"Size":  {reason: "Nor does a larger volume.", spec: `{"spec": {"storage": {"size": "50Gi"}}}`, same: true},
		"VolumeOutOfSight": {
			reason: "A volume that cannot be seen for a moment is no reason to delete what is done.", seen: map[string]string{nameVolume: gone}, same: true,
		},
		"VolumeReplaced": {
			reason: "On a new volume there is nothing.", seen: map[string]string{nameVolume: live(`{"metadata": {"uid": "new"}}`)},
		},
		"Failed": {
			reason: "What failed may be done by another version.", input: `{"agentImage": "localhost:5000/function-aim:v2"}`,
			seen: map[string]string{first: live(`{"status": {"conditions": [{"type": "Failed", "status": "True"}]}}`)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := runningCache(t, preloading)
			w.provide(t, w.reconcile(t), map[string]string{first: jobIs("Complete", "")})
			if tc.seen != nil {
				if tc.seen[first] == "" {
					tc.seen[first] = jobIs("Complete", "")
				}
				w.provide(t, w.reconcile(t), tc.seen)
			}
			if tc.input != "" {
				w.input = resource.MustStructJSON(tc.input)
			}
			if tc.spec != "" {
				w.xr = merged(w.xr, tc.spec)
			}
			rsp := w.reconcile(t)
			if got := preloadName(t, rsp); (got == first) != tc.same {
				t.Errorf("%s\nf.RunFunction(...): want the same Job %t, got %s after %s", tc.reason, tc.same, got, first)
			}
			if tc.same {
				if diff := cmp.Diff(at(job, "spec"), at(rsp.GetDesired().GetResources()[first].GetResource(), "spec"), protocmp.Transform()); diff != "" {
					t.Errorf("%s\n-want Job, +got Job:\n%s", tc.reason, diff)
				}
			}
		})
	}
}

// TestCacheOutOfSight makes sure that nothing is deleted because something else
// cannot be seen for a moment.
func TestCacheOutOfSight(t *testing.T) {
	w := cacheWorld(preloading, cleaning)
	for range 3 {
		w.provide(t, w.reconcile(t), nil)
	}
	want := slices.Sorted(maps.Keys(w.reconcile(t).GetDesired().GetResources()))
	job := preloadName(t, w.reconcile(t))
	for _, unseen := range [][]string{{"role-object"}, {"rolebinding-object"}, {"role-object", "rolebinding-object"}, {nameVolume}, {nameInventory}, {job}, {job, nameVolume}, {job, "role-object", "rolebinding-object", nameVolume}} {
		patches := map[string]string{}
		for _, n := range unseen {
			patches[n] = gone
		}
		w.provide(t, w.reconcile(t), patches)
		got := slices.Sorted(maps.Keys(w.reconcile(t).GetDesired().GetResources()))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%v out of sight: -want resources, +got resources:\n%s", unseen, diff)
		}
		w.provide(t, w.reconcile(t), nil)
	}
}

// TestCachePods makes sure that an agent that does not do its work says why.
func TestCachePods(t *testing.T) {
	w := runningCache(t, preloading)
	name := preloadName(t, w.reconcile(t))
	job := "models-" + strings.TrimSuffix(name, "-object")
	pod := func(job, state string) *structpb.Struct {
		return resource.MustStructJSON(fmt.Sprintf(`{
			"apiVersion": "v1", "kind": "Pod",
			"metadata": {"name": "p", "namespace": "team-a", "labels": {"batch.kubernetes.io/job-name": %q, "aim.engine.amd.com/cache": "models", "app.kubernetes.io/managed-by": "function-aim"}},
			"status": {"containerStatuses": [{"name": "agent", "image": "localhost:5000/function-aim:v1", "state": %s}]}
		}`, job, state))
	}
	const pull = `{"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}`
	const preloads = "ModelsReady=FALSE Preloading: still to come: Qwen/Qwen3-8B"
	cases := map[string]struct {
		reason   string
		pod      *structpb.Struct
		job      string
		disabled bool
		want     string
	}{
		"None":    {reason: "There may be nothing to tell.", want: preloads},
		"Stuck":   {reason: "A pod that cannot start should not be waited for in silence.", pod: pod(job, pull), want: preloads + "; pod p cannot pull image localhost:5000/function-aim:v1: no such host; the platform names it in agentImage"},
		"Another": {reason: "The pod of a clean-up is of no interest.", pod: pod("models-cleanup-1", pull), want: preloads},
		"Disabled": {
			reason: "A platform may not want us to read pods.", pod: pod(job, pull), disabled: true, want: preloads,
		},
		"Failed": {
			reason: "What an agent says that could not write it should be told.", job: jobIs("Failed", "Pod failed"),
			pod:  merged(pod(job, `{"terminated": {"exitCode": 3, "message": "function-aim: error: the volume is too small"}}`), `{"status": {"phase": "Failed"}}`),
			want: "ModelsReady=FALSE PreloadFailed: Qwen/Qwen3-8B: the Job " + job + " failed: the volume is too small. To try again, delete the Job " + job,
		},
	}
	for n, tc := range cases {
		t.Run(n, func(t *testing.T) {
			w := runningCache(t, preloading)
			if tc.job != "" {
				w.provide(t, w.reconcile(t), map[string]string{name: tc.job})
			}
			if tc.pod != nil {
				w.cluster = []*structpb.Struct{tc.pod}
			}
			if tc.disabled {
				w.input = merged(w.input, `{"podDiagnosis": "Disabled"}`)
			}
			got := digestOf(w.reconcile(t)).Conditions[1]
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestCacheInventory makes sure that a status has what was measured, and
// nothing else.
func TestCacheInventory(t *testing.T) {
	cases := map[string]struct {
		reason    string
		inventory string
		want      string
		// unknown is why what is on the volume is not known.
		unknown string
	}{
		"None": {
			"What nobody measured is absent.", `{}`,
			`{"pvcName": "models-storage", "pvcPhase": "Bound"}`, "",
		},
		"Some": {
			"What was measured is told.", "",
			`{"pvcName": "models-storage", "pvcPhase": "Bound", "totalSize": "100Gi", "usedSize": "20Gi", "availableSize": "80Gi", "usagePercentage": 20}`, "",
		},
		"Empty":        {"An empty one is none.", live(`{"data": {"inventory.json": ""}}`), `{"pvcName": "models-storage", "pvcPhase": "Bound"}`, ""},
		"Unreadable":   {"One that cannot be read is none, and no obstacle.", live(`{"data": {"inventory.json": "{"}}`), `{"pvcName": "models-storage", "pvcPhase": "Bound"}`, "cannot unmarshal inventory: unexpected end of JSON input"},
		"OtherVersion": {"Nor is one of another agent.", live(`{"data": {"inventory.json": "{\"version\": \"v0\"}"}}`), `{"pvcName": "models-storage", "pvcPhase": "Bound"}`, `the inventory is of version "v0", not "v1": the agent that wrote it is older or newer than this function`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := cacheWorld()
			if tc.inventory == "" {
				tc.inventory = measuredBy(t, inInventory("Qwen/Qwen3-8B", "main", "Cached"))
			}
			w.provide(t, w.reconcile(t), map[string]string{nameInventory: tc.inventory})
			rsp := w.reconcile(t)
			if diff := cmp.Diff(resource.MustStructJSON(tc.want), at(statusOf(rsp), "storage").GetStructValue(), protocmp.Transform()); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want storage, +got storage:\n%s", tc.reason, diff)
			}
			volume := condVolume
			if tc.unknown != "" {
				volume += "; what is on it is not known until the agent measures it again: " + tc.unknown
			}
			if diff := cmp.Diff(volume, digestOf(rsp).Conditions[0]); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want condition, +got condition:\n%s", tc.reason, diff)
			}
			if got := digestOf(rsp); got.Ready != "TRUE" || at(statusOf(rsp), "phase").GetStringValue() != "Ready" {
				t.Errorf("%s\nf.RunFunction(...): got %+v", tc.reason, got)
			}
		})
	}
}

// TestCacheUsedModels makes sure that clean-ups know what endpoints serve.
func TestCacheUsedModels(t *testing.T) {
	w := cacheWorld(cleaning)
	w.cluster = []*structpb.Struct{
		cacheUser(t, "talk", `{"spec": {"model": {"id": "Qwen/Qwen3-32B"}}}`), cacheUser(t, "chat"), cacheUser(t, "chat-2"),
	}
	rsp := w.reconcile(t)
	args := agentArgs(rsp, nameCleanup)
	if want := `"inUse":["Qwen/Qwen3-32B","Qwen/Qwen3-8B"]`; !slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, want) }) {
		t.Errorf("want %s in %q", want, args)
	}
	if diff := cmp.Diff(float64(2), at(statusOf(rsp), "usage", "activeModels").GetNumberValue()); diff != "" {
		t.Errorf("-want active models, +got active models:\n%s", diff)
	}
}

// agentArgs of a composed Job or CronJob.
func agentArgs(rsp *fnv1.RunFunctionResponse, name string) []string {
	spec := at(rsp.GetDesired().GetResources()[name].GetResource(), "spec", "forProvider", "manifest", "spec").GetStructValue()
	if c := at(spec, "jobTemplate", "spec").GetStructValue(); c != nil {
		spec = c
	}
	var out []string
	for _, c := range at(spec, "template", "spec", "containers").GetListValue().GetValues() {
		for _, a := range c.GetStructValue().GetFields()["args"].GetListValue().GetValues() {
			out = append(out, a.GetStringValue())
		}
	}
	return out
}

// TestAgentArguments makes sure that the agent takes what it is given.
func TestAgentArguments(t *testing.T) {
	w := cacheWorld(cleaning, `{"spec": {"models": [{"id": "Qwen/Qwen3-8B", "revision": "v2", "maxSize": "20Gi", "preload": true}]}}`)
	for range 2 {
		w.provide(t, w.reconcile(t), nil)
	}
	rsp := w.reconcile(t)
	c := &cli{}
	parser, err := kong.New(c, kong.Vars{"version": version})
	if err != nil {
		t.Fatal(err)
	}
	flags := cacheFlags{Home: "/cache", Capacity: "100Gi", ConfigMap: "models-inventory", Namespace: "team-a", Interval: c.Cache.Download.Interval}

	ctx, err := parser.Parse(agentArgs(rsp, preloadName(t, rsp)))
	if err != nil {
		t.Fatalf("The agent does not take what downloads are given: %v", err)
	}
	d := c.Cache.Download
	flags.Interval = d.Interval
	if diff := cmp.Diff([]any{"cache download <model>", "Qwen/Qwen3-8B", "v2", "20Gi", flags}, []any{ctx.Command(), d.Model, d.Revision, d.MaxSize, d.cacheFlags}, cmp.AllowUnexported(cacheFlags{})); diff != "" {
		t.Errorf("-want download, +got download:\n%s", diff)
	}

	ctx, err = parser.Parse(agentArgs(rsp, nameCleanup))
	if err != nil {
		t.Fatalf("The agent does not take what clean-ups are given: %v", err)
	}
	if diff := cmp.Diff([]any{"cache prune", `{"strategy":"lru","models":[{"id":"Qwen/Qwen3-8B","priority":"medium","maxSize":"20Gi"}]}`, flags}, []any{ctx.Command(), c.Cache.Prune.Policy, c.Cache.Prune.cacheFlags}); diff != "" {
		t.Errorf("-want clean-up, +got clean-up:\n%s", diff)
	}
}

// TestCacheGrows makes sure that a volume grows where its class says so.
func TestCacheGrows(t *testing.T) {
	cases := map[string]struct {
		reason string
		class  string
		want   string
	}{
		"Allowed":    {"A class may allow it.", `{"metadata": {"name": "standard"}, "allowVolumeExpansion": true}`, "200Gi"},
		"NotAllowed": {"Or not.", `{"metadata": {"name": "standard"}}`, "100Gi"},
		"NotThere":   {"A class that is not there allows nothing.", `{"metadata": {"name": "other"}, "allowVolumeExpansion": true}`, "100Gi"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := runningCache(t)
			w.xr = merged(w.xr, `{"spec": {"storage": {"size": "200Gi"}}}`)
			w.cluster = []*structpb.Struct{merged(resource.MustStructJSON(`{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "example.org/disks"}`), tc.class)}
			got := at(w.reconcile(t).GetDesired().GetResources()[nameVolume].GetResource(), "spec", "forProvider", "manifest", "spec", "resources", "requests", "storage").GetStringValue()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want size, +got size:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestUsesCache is about endpoints that use a cache.
func TestUsesCache(t *testing.T) {
	const cacheReady = 3
	type want struct {
		ready     string
		resources int
		condition string
		index     int
	}
	cases := map[string]struct {
		reason  string
		spec    string
		cluster []*structpb.Struct
		input   string
		running bool
		want    want
	}{
		"Fresh": {
			reason: "An endpoint should run from the cache.", cluster: []*structpb.Struct{claimOfCache(hasModel)},
			want: want{"FALSE", 3, "CacheReady=TRUE Bound: AIMCache models has Qwen/Qwen3-8B, which is read from there", cacheReady},
		},
		"NotYet": {
			reason: "It should not wait for the model to be there.", cluster: []*structpb.Struct{claimOfCache()},
			want: want{"FALSE", 3, "CacheReady=TRUE Bound: AIMCache models does not have all of Qwen/Qwen3-8B yet: the server downloads what is missing", cacheReady},
		},
		"NotListed": {
			reason: "It should be told that the model is not the cache's.", cluster: []*structpb.Struct{claimOfCache(`{"spec": {"models": null}}`)},
			want: want{"FALSE", 3, "CacheReady=TRUE Bound: AIMCache models does not list Qwen/Qwen3-8B: the server downloads it into the cache, where it stays until it is cleaned up", cacheReady},
		},
		"Unbound": {
			reason: "A volume may wait for this very endpoint's pod.", cluster: []*structpb.Struct{claimOfCache(`{"status": null}`)},
			want: want{"FALSE", 3, "CacheReady=FALSE WaitingForConsumer: the volume of AIMCache models is not bound yet; with some storage classes that waits for a pod", cacheReady},
		},
		"FailedCache": {
			reason: "Why there is no volume is the cache's to say.", cluster: []*structpb.Struct{claimOfCache(`{"status": {"phase": "Failed", "reason": "StorageClassNotFound", "storage": {"pvcPhase": "Pending"}}}`)},
			want: want{"FALSE", 3, "CacheReady=FALSE WaitingForConsumer: the volume of AIMCache models is not bound: StorageClassNotFound; kubectl describe aimcache models says what to do", cacheReady},
		},
		"Missing": {
			reason: "Without the cache no pod could start.",
			want:   want{"FALSE", 0, "WorkloadReady=FALSE ApplyFailed: spec.cache.name: there is no AIMCache models; create it, or name another; until then all stays as it is", 1},
		},
		"OfAnotherNamespace": {
			reason: "A claim for a volume cannot be mounted from another namespace.", cluster: []*structpb.Struct{claimOfCache(`{"metadata": {"namespace": "team-b"}}`)},
			want: want{"FALSE", 0, "WorkloadReady=FALSE ApplyFailed: spec.cache.name: there is no AIMCache models; create it, or name another; until then all stays as it is", 1},
		},
		"GoneWhileRunning": {
			reason: "What runs should go on, and the user be told.", running: true,
			want: want{"FALSE", 3, "WorkloadReady=FALSE ApplyFailed: spec.cache.name: there is no AIMCache models; create it, or name another; until then all stays as it is", 1},
		},
		"Remote": {
			reason: "Another cluster has no such cache.", spec: inParis, input: twoClusters, cluster: []*structpb.Struct{claimOfCache(hasModel)},
			want: want{"FALSE", 0, "WorkloadReady=FALSE ApplyFailed: spec.cache.name: AIMCaches are on Crossplane's own cluster, and this endpoint runs on another; set cache.enabled instead; until then all stays as it is", 1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(patches(usingCache, tc.spec)...)
			if tc.input != "" {
				w.input = resource.MustStructJSON(tc.input)
			}
			var before *fnv1.RunFunctionResponse
			if tc.running {
				w.cluster = []*structpb.Struct{claimOfCache(hasModel)}
				for range 3 {
					before = w.reconcile(t)
					w.provide(t, before, nil)
				}
			}
			w.cluster = tc.cluster
			rsp := w.reconcile(t)
			d := digestOf(rsp)
			got := want{d.Ready, len(d.Resources), d.Conditions[tc.want.index], tc.want.index}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s\nAll of it: %q", tc.reason, diff, d.Conditions)
			}
			for n, r := range before.GetDesired().GetResources() {
				if diff := cmp.Diff(at(r.GetResource(), "spec"), at(rsp.GetDesired().GetResources()[n].GetResource(), "spec"), protocmp.Transform()); diff != "" {
					t.Errorf("%s\n%s must stay as it is: -before, +after:\n%s", tc.reason, n, diff)
				}
			}
		})
	}
}

// TestUsesCacheObject makes sure that a cache can tell who uses it, and for
// what: a canary may need another model.
func TestUsesCacheObject(t *testing.T) {
	w := newWorld(usingCache, withCanary)
	w.cluster = []*structpb.Struct{claimOfCache(hasModel)}
	for range 3 {
		w.provide(t, w.reconcile(t), nil)
	}
	w.xr = merged(w.xr, to32B)
	rsp := w.reconcile(t)
	got := map[string][]string{}
	for n, r := range rsp.GetDesired().GetResources() {
		o := composite{raw: r.GetResource()}
		if l := o.str("metadata", "labels", "aim.engine.amd.com/uses-cache"); l != "" {
			got[n] = []string{l, o.annotation("aim.engine.amd.com/uses-model")}
		}
	}
	want := map[string][]string{nameConfig: {"team-a.models", "Qwen/Qwen3-8B"}, nameCanary: {"team-a.models", "Qwen/Qwen3-32B"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("f.RunFunction(...): -want label and model, +got label and model:\n%s", diff)
	}

	// Both are of one user.
	c := cacheWorld()
	for _, n := range []string{nameConfig, nameCanary} {
		c.cluster = append(c.cluster, proto.Clone(rsp.GetDesired().GetResources()[n].GetResource()).(*structpb.Struct))
	}
	users := at(statusOf(c.reconcile(t)), "usedBy")
	if diff := cmp.Diff(structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue("team-a/chat")}}), users, protocmp.Transform()); diff != "" {
		t.Errorf("f.RunFunction(...): -want users, +got users:\n%s", diff)
	}
}
