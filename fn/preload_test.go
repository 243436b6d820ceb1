package main

import (
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
)

// ownCache is a merge patch of an endpoint with a volume of its own.
const ownCache = `{"spec": {"cache": {"enabled": true, "size": "50Gi"}}}`

// preloadWorld is one of an endpoint with a volume of its own, on a platform
// with an agent, with merge patches.
func preloadWorld(patches ...string) *world {
	w := newWorld(append([]string{ownCache}, patches...)...)
	w.input = resource.MustStructJSON(withAgent)
	return w
}

// classOf volumes, as it binds.
func classOf(mode string) *structpb.Struct {
	return merged(resource.MustStructJSON(`{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "standard"}, "provisioner": "example.org/disks"}`), `{"volumeBindingMode": "`+mode+`"}`)
}

// A scene of an endpoint's life: what is composed, and what is told.
type scene struct {
	Ready     string
	Phase     string
	Resources []string
	Workload  string
	Cache     string
}

func sceneOf(rsp *fnv1.RunFunctionResponse) scene {
	d := digestOf(rsp)
	out := scene{Ready: d.Ready, Phase: at(statusOf(rsp), "phase").GetStringValue()}
	id := ""
	for _, r := range d.Resources {
		name, _, _ := strings.Cut(r, " ")
		n := strings.TrimSuffix(name, "-object")
		if i, ok := strings.CutPrefix(n, "preload-"); ok {
			id, n = i, "preload"
		}
		if observesOnly(rsp.GetDesired().GetResources()[name].GetResource()) {
			n += " (held back)"
		}
		out.Resources = append(out.Resources, n)
	}
	for _, c := range d.Conditions {
		if id != "" {
			c = strings.ReplaceAll(c, id, "(id)")
		}
		if v, ok := strings.CutPrefix(c, "WorkloadReady="); ok {
			out.Workload = v
		}
		if v, ok := strings.CutPrefix(c, "CacheReady="); ok {
			out.Cache = v
		}
	}
	return out
}

const (
	sceneWaits     = "FALSE Preloading: the server starts once Qwen/Qwen3-8B is downloaded into its volume"
	sceneAvailable = "TRUE Available: 1 of 1 replicas are available"
	sceneDownloads = "FALSE Preloading: the Job chat-preload-(id) downloads Qwen/Qwen3-8B"
	sceneUnbound   = "FALSE WaitingForConsumer: the PersistentVolumeClaim chat-cache is not bound yet; with some storage classes that waits for a pod"
	sceneHas       = "TRUE Bound: the volume chat-cache of 50Gi is bound, and has Qwen/Qwen3-8B"
)

// TestPreloadLife follows an endpoint from its first download to that of
// another model.
func TestPreloadLife(t *testing.T) {
	w := preloadWorld()
	step := func(reason string, want scene) *fnv1.RunFunctionResponse {
		t.Helper()
		rsp := w.reconcile(t)
		if diff := cmp.Diff(want, sceneOf(rsp)); diff != "" {
			t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", reason, diff)
		}
		return rsp
	}
	before, all := []string{"cache", "config", "deployment (held back)", "preload", "service"}, []string{"cache", "config", "deployment", "preload", "service"}

	rsp := step("First there has to be a volume.", scene{"FALSE", "Starting", []string{"cache", "config", "deployment (held back)", "service"}, sceneWaits, sceneUnbound})
	w.provide(t, rsp, nil)
	rsp = step("No GPU waits for the download.", scene{"FALSE", "Starting", before, sceneWaits, sceneDownloads})
	first := preloadName(t, rsp)
	w.provide(t, rsp, nil)
	rsp = step("That may take an hour.", scene{"FALSE", "Starting", before, sceneWaits, sceneDownloads})
	w.provide(t, rsp, map[string]string{first: jobIs("Complete", "")})
	rsp = step("Then it starts.", scene{"FALSE", "Starting", all, "FALSE Starting: 0 of 1 replicas are available", sceneHas})
	job := rsp.GetDesired().GetResources()[first]
	w.provide(t, rsp, map[string]string{first: jobIs("Complete", "")})
	w.input = resource.MustStructJSON(`{"agentImage": "localhost:5000/function-aim:v2"}`)
	rsp = step("A new version of the agent downloads nothing again.", scene{"TRUE", "Ready", all, sceneAvailable, sceneHas})
	if diff := cmp.Diff(job.GetResource(), rsp.GetDesired().GetResources()[first].GetResource(), protocmp.Transform()); diff != "" {
		t.Errorf("A finished Job should stay as it is: -before, +after:\n%s", diff)
	}
	w.provide(t, rsp, map[string]string{first: jobIs("Complete", "")})

	server := rsp.GetDesired().GetResources()[nameDeployment].GetResource()
	w.xr = merged(w.xr, `{"spec": {"model": {"id": "Qwen/Qwen3-32B"}}}`)
	const keeps = "FALSE RolloutInProgress: the workload keeps running as it was until Qwen/Qwen3-32B is downloaded into its volume"
	rsp = step("The next model is downloaded while the last one serves.", scene{"FALSE", "Degraded", all, keeps, "FALSE Preloading: the Job chat-preload-(id) downloads Qwen/Qwen3-32B"})
	second := preloadName(t, rsp)
	if diff := cmp.Diff(at(server, "spec"), at(rsp.GetDesired().GetResources()[nameDeployment].GetResource(), "spec"), protocmp.Transform()); diff != "" {
		t.Errorf("What serves should not be touched: -before, +after:\n%s", diff)
	}
	w.provide(t, rsp, map[string]string{second: jobIs("Failed", "accept the licence")})
	rsp = step("If that fails, it serves on.", scene{
		"FALSE", "Degraded", all,
		"FALSE ModelDownloadFailed: the workload keeps running as it was until Qwen/Qwen3-32B is downloaded into its volume, and that failed: see CacheReady",
		"FALSE PreloadFailed: cannot download Qwen/Qwen3-32B: accept the licence. Delete the Job chat-preload-(id) to try again, or set cache.preload to false to have the server download it",
	})
	w.provide(t, rsp, map[string]string{second: jobIs("Failed", "accept the licence")})

	w.xr = merged(w.xr, `{"spec": {"hfTokenSecretRef": {"name": "hf", "key": "token"}}}`)
	rsp = step("With a token it is tried again.", scene{"FALSE", "Degraded", all, keeps, "FALSE Preloading: the Job chat-preload-(id) downloads Qwen/Qwen3-32B"})
	third := preloadName(t, rsp)
	if third == second {
		t.Errorf("What failed should be tried again by a Job of its own: got %s", third)
	}
	w.provide(t, rsp, map[string]string{third: jobIs("Complete", "")})
	rsp = step("And then it is rolled out.", scene{"FALSE", "Degraded", all, "FALSE RolloutInProgress: the change is being applied", "TRUE Bound: the volume chat-cache of 50Gi is bound, and has Qwen/Qwen3-32B"})
	w.provide(t, rsp, map[string]string{third: jobIs("Complete", "")})
	step("And serves.", scene{"TRUE", "Ready", all, sceneAvailable, "TRUE Bound: the volume chat-cache of 50Gi is bound, and has Qwen/Qwen3-32B"})
}

// TestAgentOfPlatform makes sure that what a platform says of the agent is true
// of all of them.
func TestAgentOfPlatform(t *testing.T) {
	const input = `{
		"agentImage": "localhost:5000/function-aim:v1", "agentPullSecrets": ["registry"],
		"agentEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]
	}`
	w := preloadWorld(`{"spec": {"image": {"pullSecrets": ["own", "registry"]}, "deployment": {"podAnnotations": {"sidecar.istio.io/inject": "false"}}}}`)
	c := cacheWorld(preloading, cleaning)
	w.input, c.input = resource.MustStructJSON(input), resource.MustStructJSON(input)
	for range 2 {
		w.provide(t, w.reconcile(t), nil)
		c.provide(t, c.reconcile(t), nil)
	}
	endpoint, cache := w.reconcile(t), c.reconcile(t)

	const env = `"env": [{"name": "HOME", "value": "/tmp"}, {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]`
	cases := map[string]struct {
		rsp  *fnv1.RunFunctionResponse
		name string
		path []string
		want string
	}{
		"Endpoint": {endpoint, preloadName(t, endpoint), []string{"spec", "template"}, `{` + env + `, "pullSecrets": [{"name": "registry"}, {"name": "own"}], "annotations": {"sidecar.istio.io/inject": "false"}}`},
		"Preload":  {cache, preloadName(t, cache), []string{"spec", "template"}, `{` + env + `, "pullSecrets": [{"name": "registry"}]}`},
		"Cleanup":  {cache, nameCleanup, []string{"spec", "jobTemplate", "spec", "template"}, `{` + env + `, "pullSecrets": [{"name": "registry"}]}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := at(tc.rsp.GetDesired().GetResources()[tc.name].GetResource(), append([]string{"spec", "forProvider", "manifest"}, tc.path...)...).GetStructValue()
			got := &structpb.Struct{Fields: map[string]*structpb.Value{
				"env":         at(pod, "spec", "containers").GetListValue().GetValues()[0].GetStructValue().GetFields()["env"],
				"pullSecrets": at(pod, "spec", "imagePullSecrets"),
			}}
			if a := at(pod, "metadata", "annotations"); a != nil {
				got.Fields["annotations"] = a
			}
			if diff := cmp.Diff(resource.MustStructJSON(tc.want), got, protocmp.Transform()); diff != "" {
				t.Errorf("-want, +got:\n%s", diff)
			}
		})
	}
}

// TestPreloadOutOfSight makes sure that nothing is downloaded again because the
// volume cannot be seen for a moment.
func TestPreloadOutOfSight(t *testing.T) {
	w := preloadWorld()
	done := func(patches map[string]string) {
		t.Helper()
		rsp := w.reconcile(t)
		for _, n := range preloadNames(rsp) {
			patches[n] = jobIs("Complete", "")
		}
		w.provide(t, rsp, patches)
	}
	for range 4 {
		done(map[string]string{})
	}
	before := w.reconcile(t).GetDesired().GetResources()
	// The Job may be out of sight with it.
	job := preloadName(t, w.reconcile(t))
	w.provide(t, w.reconcile(t), map[string]string{nameCache: gone, job: gone})
	if got := w.reconcile(t).GetDesired().GetResources()[job]; got == nil {
		t.Error("the Job is deleted")
	}
	done(map[string]string{})
	done(map[string]string{nameCache: gone})
	after := w.reconcile(t).GetDesired().GetResources()
	for n := range before {
		if n == nameCache {
			// What cannot change of it is known only while it can be seen.
			continue
		}
		if diff := cmp.Diff(at(before[n].GetResource(), "spec"), at(after[n].GetResource(), "spec"), protocmp.Transform()); diff != "" {
			t.Errorf("%s: -before, +after:\n%s", n, diff)
		}
	}
}

// TestPreloadSteady makes sure that with nothing changing nothing is written.
func TestPreloadSteady(t *testing.T) {
	cases := map[string]struct {
		reason string
		job    string
		claim  string
		server string
	}{
		"Pending":     {reason: "A volume may not bind for days.", claim: live(`{"status": {"phase": "Pending"}}`)},
		"Downloading": {reason: "A download may take hours."},
		"Failed":      {reason: "A failure may go unnoticed for days.", job: jobIs("Failed", "why")},
		"Starting":    {reason: "So may a model that loads.", job: jobIs("Complete", ""), server: starting},
		"Ready":       {reason: "All is as it should be.", job: jobIs("Complete", "")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := preloadWorld()
			w.cluster = []*structpb.Struct{classOf("Immediate")}
			for range 6 {
				rsp := w.reconcile(t)
				seen := map[string]string{}
				if tc.claim != "" {
					seen[nameCache] = tc.claim
				}
				if tc.server != "" {
					seen[nameDeployment] = tc.server
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

// TestModeStays makes sure that a mode that cannot change restarts no server,
// and lets no pod mount what it cannot.
func TestModeStays(t *testing.T) {
	w := runningWorld(t, ownCache)
	before := w.reconcile(t).GetDesired().GetResources()[nameDeployment].GetResource()
	w.xr = merged(w.xr, `{"spec": {"cache": {"accessMode": "ReadWriteMany"}}}`)
	rsp := w.reconcile(t)
	if diff := cmp.Diff(at(before, "spec"), at(rsp.GetDesired().GetResources()[nameDeployment].GetResource(), "spec"), protocmp.Transform()); diff != "" {
		t.Errorf("-before, +after:\n%s", diff)
	}
	if got := sceneOf(rsp).Cache; !strings.HasPrefix(got, "FALSE StorageClassImmutable: cache.accessMode cannot change") {
		t.Errorf("That it cannot change should be told: got %s", got)
	}

	c := runningCache(t, `{"spec": {"storage": {"accessMode": "ReadWriteOnce"}}}`, cleaning)
	spec := func() *structpb.Value {
		return at(c.reconcile(t).GetDesired().GetResources()[nameCleanup].GetResource(), "spec")
	}
	was := spec()
	c.xr = merged(c.xr, `{"spec": {"storage": {"accessMode": "ReadWriteMany"}}}`)
	if diff := cmp.Diff(was, spec(), protocmp.Transform()); diff != "" {
		t.Errorf("Nor should an agent: -before, +after:\n%s", diff)
	}
}

// TestPreloadBinding is about volumes that are not bound yet.
func TestPreloadBinding(t *testing.T) {
	pending := live(`{"status": {"phase": "Pending"}}`)
	before, all := []string{"cache", "config", "deployment (held back)", "service"}, []string{"cache", "config", "deployment", "service"}
	waits := scene{"FALSE", "Starting", before, sceneWaits, sceneUnbound}
	starts := scene{"FALSE", "Starting", all, "FALSE Starting: 0 of 1 replicas are available", sceneUnbound}
	typo := starts
	typo.Cache = `FALSE StorageClassNotFound: there is no StorageClass "standard", so that no volume is made for the PersistentVolumeClaim chat-cache; set cache.storageClass to one of those that kubectl get storageclass shows, and delete the PersistentVolumeClaim chat-cache, which holds nothing yet`
	cases := map[string]struct {
		reason  string
		cluster []*structpb.Struct
		old     bool
		want    scene
	}{
		"Immediate": {"One that binds by itself will do so.", []*structpb.Struct{classOf("Immediate")}, false, waits},
		"Waits":     {"One that waits for a pod would wait for ever without the server's.", []*structpb.Struct{classOf("WaitForFirstConsumer")}, false, starts},
		"NoClass":   {"One that does not exist makes no volume, which should be told.", nil, false, typo},
		"Old":       {"Crossplane 1.20 can be asked, too.", []*structpb.Struct{classOf("Immediate")}, true, waits},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := preloadWorld()
			w.cluster, w.old = tc.cluster, tc.old
			w.provide(t, w.reconcile(t), map[string]string{nameCache: pending})
			if diff := cmp.Diff(tc.want, sceneOf(w.reconcile(t))); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}

	w := preloadWorld()
	w.cluster = []*structpb.Struct{classOf("WaitForFirstConsumer")}
	w.provide(t, w.reconcile(t), map[string]string{nameCache: pending})
	// The server's pod was scheduled, which bound the volume, before the provider
	// has told of the Deployment.
	w.provide(t, w.reconcile(t), map[string]string{nameDeployment: gone})
	if got := w.reconcile(t).GetDesired().GetResources()[nameDeployment]; got == nil {
		t.Error("A server that was started must not be deleted because its volume is bound now")
	}
	w.provide(t, w.reconcile(t), map[string]string{nameDeployment: starting})
	want := scene{"FALSE", "Starting", []string{"cache", "config", "deployment", "preload", "service"}, "FALSE Starting: 0 of 1 replicas are available", sceneDownloads}
	if diff := cmp.Diff(want, sceneOf(w.reconcile(t))); diff != "" {
		t.Errorf("The download goes on beside the server.\nf.RunFunction(...): -want, +got:\n%s", diff)
	}
}

// TestPreloadPods makes sure that why a download does not go on is told, and
// that nobody looks at pods where that is forbidden, or when all is well.
func TestPreloadPods(t *testing.T) {
	w := preloadWorld()
	w.provide(t, w.reconcile(t), nil)
	rsp := w.reconcile(t)
	name := preloadName(t, rsp)
	job := "chat-" + strings.TrimSuffix(name, "-object")
	pod := merged(resource.MustStructJSON(`{
		"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "team-a"},
		"status": {"phase": "Failed", "containerStatuses": [{"name": "agent", "state": {"terminated": {"exitCode": 3, "message": "function-aim: error: accept the licence"}}}]}
	}`), `{"metadata": {"labels": {"batch.kubernetes.io/job-name": "`+job+`"}}}`)
	w.cluster = []*structpb.Struct{pod}
	w.provide(t, rsp, map[string]string{name: jobIs("Failed", "Container agent failed")})

	rsp = w.reconcile(t)
	want := "FALSE PreloadFailed: cannot download Qwen/Qwen3-8B: accept the licence. Delete the Job chat-preload-(id) to try again, or set cache.preload to false to have the server download it"
	if diff := cmp.Diff(want, sceneOf(rsp).Cache); diff != "" {
		t.Errorf("What the agent says should be told.\nf.RunFunction(...): -want, +got:\n%s", diff)
	}
	if !asksForPods(rsp) {
		t.Error("The pods of a download should be asked for")
	}

	w.input = merged(w.input, `{"podDiagnosis": "Disabled"}`)
	rsp = w.reconcile(t)
	want = strings.Replace(want, "accept the licence", "Container agent failed", 1)
	if diff := cmp.Diff(want, sceneOf(rsp).Cache); diff != "" {
		t.Errorf("Without its pods, what the Job says should be told.\nf.RunFunction(...): -want, +got:\n%s", diff)
	}
	if asksForPods(rsp) {
		t.Error("No pods should be asked for where that is forbidden")
	}

	w.input = resource.MustStructJSON(withAgent)
	w.provide(t, w.reconcile(t), map[string]string{name: jobIs("Complete", "")})
	if asksForPods(w.reconcile(t)) {
		t.Error("No pods should be asked for when there is nothing to be learnt from them")
	}
}

// asksForPods says whether the pods of a download are asked for.
func asksForPods(rsp *fnv1.RunFunctionResponse) bool {
	for k := range rsp.GetRequirements().GetResources() {
		if strings.HasPrefix(k, "preload-pods-") {
			return true
		}
	}
	return false
}

// TestPreloadKept makes sure that a mistake in the spec stops no download.
func TestPreloadKept(t *testing.T) {
	w := preloadWorld()
	w.provide(t, w.reconcile(t), nil)
	rsp := w.reconcile(t)
	name := preloadName(t, rsp)
	w.provide(t, rsp, nil)
	for _, mistake := range []string{`{"spec": {"model": {"id": "acme/unheard-of"}}}`, `{"spec": {"deployment": {"extraArgs": ["--max-modal-len", "8192"]}}}`} {
		broken := *w
		broken.xr = merged(w.xr, mistake)
		after := broken.reconcile(t).GetDesired().GetResources()[name]
		if diff := cmp.Diff(at(rsp.GetDesired().GetResources()[name].GetResource(), "spec"), at(after.GetResource(), "spec"), protocmp.Transform()); diff != "" {
			t.Errorf("%s should stop no download: -before, +after:\n%s", mistake, diff)
		}
	}
}

// TestPreloadOfCanary makes sure that what a canary has proved is downloaded
// before it is rolled out, and that the canary serves meanwhile.
func TestPreloadOfCanary(t *testing.T) {
	w := preloadWorld(withCanary)
	done := func(rsp *fnv1.RunFunctionResponse) {
		t.Helper()
		seen := map[string]string{}
		for _, n := range preloadNames(rsp) {
			seen[n] = jobIs("Complete", "")
		}
		w.provide(t, rsp, seen)
	}
	for range 5 {
		done(w.reconcile(t))
	}
	if got := sceneOf(w.reconcile(t)); got.Phase != "Ready" {
		t.Fatalf("the endpoint is not ready: %+v", got)
	}
	stable := preloadName(t, w.reconcile(t))
	w.xr = merged(w.xr, `{"spec": {"model": {"id": "Qwen/Qwen3-32B"}}}`)
	held := false
	for range 8 {
		rsp := w.reconcile(t)
		if n := preloadName(t, rsp); n != stable && !held {
			held = true
			if rsp.GetDesired().GetResources()[nameCanary] == nil {
				t.Error("The canary should serve until its model is there for the others")
			}
			if got := sceneOf(rsp).Workload; !strings.HasPrefix(got, "FALSE RolloutInProgress: the workload keeps running as it was until Qwen/Qwen3-32B") {
				t.Errorf("The rollout should wait for the download: got %s", got)
			}
			w.provide(t, rsp, nil)
			continue
		}
		done(rsp)
	}
	rsp := w.reconcile(t)
	if got := sceneOf(rsp); !held || got.Phase != "Ready" || rsp.GetDesired().GetResources()[nameCanary] != nil {
		t.Errorf("The promotion should end: held %t, got %+v", held, got)
	}
}

// TestPreloadRemote makes sure that the Job on another cluster is one that is
// not somebody else's.
func TestPreloadRemote(t *testing.T) {
	w := preloadWorld(inParis)
	w.input = merged(w.input, twoClusters)
	for range 6 {
		rsp := w.reconcile(t)
		seen := map[string]string{}
		for _, n := range preloadNames(rsp) {
			seen[n] = `{"status": {
				"conditions": [{"type": "Synced", "status": "True"}],
				"atProvider": {"manifest": {"metadata": {"uid": "theirs", "labels": {"app.kubernetes.io/managed-by": "Helm"}}}}
			}}`
		}
		w.provide(t, rsp, seen)
	}
	got := sceneOf(w.reconcile(t))
	if !strings.HasPrefix(got.Workload, "FALSE NameConflict: cluster paris already has a Job chat-preload-") {
		t.Errorf("A Job of somebody else should be told of: got %s", got.Workload)
	}
}
