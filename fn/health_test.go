package main

import (
	"fmt"
	"testing"

	"github.com/crossplane/function-sdk-go/resource"
	"github.com/google/go-cmp/cmp"
)

const podPending = `{
	"apiVersion": "v1", "kind": "Pod",
	"metadata": {"name": "chat-5d9f-abcde", "namespace": "team-a", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"aim.engine.amd.com/composite": "chat-x7k2p"}},
	"status": {"phase": "Pending", "conditions": [{
		"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
		"message": "0/5 nodes are available: 2 Insufficient amd.com/gpu, 3 node(s) didn't match Pod's node affinity/selector."
	}]}
}`

const classExpandable = `{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "standard"}, "allowVolumeExpansion": true}`

// pod with a container's status.
func pod(status string) string {
	return fmt.Sprintf(`{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": {"name": "chat-5d9f-abcde", "namespace": "team-a", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"aim.engine.amd.com/composite": "chat-x7k2p"}},
		"status": {"phase": "Running", "conditions": [{"type": "PodScheduled", "status": "True"}], "containerStatuses": [%s]}
	}`, status)
}

// TestHealth is about an endpoint that was running, and what is seen of it now.
func TestHealth(t *testing.T) {
	steady := []string{"config-object TRUE", "deployment-object TRUE", "service-object TRUE"}
	notServing := []string{"config-object TRUE", "deployment-object FALSE", "service-object TRUE"}

	type want struct {
		phase  string
		digest digest
	}
	// unavailable is an endpoint whose workload is not, for a reason.
	unavailable := func(phase, workload string) want {
		return want{phase: phase, digest: digest{
			Ready: "FALSE", Resources: notServing, Connection: connection(),
			Conditions: []string{condSelected, "WorkloadReady=FALSE " + workload, condService, condCacheOff, condFixed},
		}}
	}
	// serving is an endpoint that serves, with other conditions than usual.
	serving := func(phase, ready string, resources []string, conditions ...string) want {
		return want{phase: phase, digest: digest{Ready: ready, Resources: resources, Connection: connection(), Conditions: conditions}}
	}
	available := "WorkloadReady=TRUE Available: 1 of 1 replicas are available"
	cached := `{"spec": {"cache": {"enabled": true, "size": "50Gi"}}}`
	withCache := []string{"cache-object TRUE", "config-object TRUE", "deployment-object TRUE", "service-object TRUE"}
	scaled := `{"spec": {"scaling": {"maxReplicas": 4}}}`
	withScaler := []string{"autoscaler-object TRUE", "config-object TRUE", "deployment-object TRUE", "disruptionbudget-object TRUE", "service-object TRUE"}

	cases := map[string]struct {
		reason string
		// spec that it runs with, change of it, what is seen in its Objects,
		// and what else there is in the cluster.
		spec    string
		change  string
		seen    map[string]string
		cluster []string
		old     bool
		want    want
	}{
		"Ready": {
			reason: "All is as it should be.",
			want:   serving("Ready", "TRUE", steady, condSelected, available, condService, condCacheOff, condFixed),
		},
		"NotLookedAtYet": {
			reason: "The provider has made an Object, and has not looked at its target yet.",
			seen:   map[string]string{nameDeployment: gone},
			want: want{phase: "Starting", digest: digest{
				Ready: "FALSE", Connection: connection(),
				Resources:  []string{"config-object TRUE", "deployment-object FALSE", "service-object TRUE"},
				Conditions: []string{condSelected, "WorkloadReady=FALSE Starting: 0 of 1 replicas are available", condService, condCacheOff, condFixed},
			}},
		},
		"Starting": {
			reason: "Its pods are there, and merely load the model.",
			seen:   map[string]string{nameDeployment: starting},
			cluster: []string{
				pod(`{"name": "server", "ready": false, "restartCount": 0, "image": "i", "imageID": "", "state": {"running": {}}}`),
			},
			want: unavailable("Starting", "Starting: 0 of 1 replicas are available"),
		},
		"WaitingForGPU": {
			reason:  "The scheduler's own words, and what to do.",
			seen:    map[string]string{nameDeployment: starting},
			cluster: []string{podPending},
			want: unavailable("Starting", "WaitingForGPU: 0 of 1 replicas are available; pod chat-5d9f-abcde cannot be scheduled: "+
				"0/5 nodes are available: 2 Insufficient amd.com/gpu, 3 node(s) didn't match Pod's node affinity/selector; "+
				"free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free"),
		},
		"WaitingForGPUOnOldCrossplane": {
			reason: "Pods of other namespaces, which Crossplane 1.20 sends along, are not ours.",
			seen:   map[string]string{nameDeployment: starting},
			old:    true,
			cluster: []string{
				podPending,
				`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "team-b", "labels": {"aim.engine.amd.com/composite": "chat-x7k2p"}}, "status": {"containerStatuses": [
					{"name": "server", "ready": false, "restartCount": 1, "image": "i", "imageID": "", "state": {"terminated": {"exitCode": 1, "message": "not yours"}}}
				]}}`,
			},
			want: unavailable("Starting", "WaitingForGPU: 0 of 1 replicas are available; pod chat-5d9f-abcde cannot be scheduled: "+
				"0/5 nodes are available: 2 Insufficient amd.com/gpu, 3 node(s) didn't match Pod's node affinity/selector; "+
				"free GPUs, add nodes, or set recipe.gpuCount or recipe.hardware to what is free"),
		},
		"ImagePullFailed": {
			reason: "Which image, and where to change it.",
			seen:   map[string]string{nameDeployment: starting},
			cluster: []string{
				pod(`{"name": "server", "ready": false, "restartCount": 0, "image": "localhost/vllm:no", "imageID": "", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}`),
			},
			want: unavailable("Failed", "ImagePullFailed: 0 of 1 replicas are available; pod chat-5d9f-abcde cannot pull image localhost/vllm:no: Back-off pulling image; check spec.image and its pull secrets"),
		},
		"OutOfMemory": {
			reason: "Host memory, that is, which is not the GPU's.",
			seen:   map[string]string{nameDeployment: starting},
			cluster: []string{
				pod(`{"name": "server", "ready": false, "restartCount": 2, "image": "i", "imageID": "", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}`),
			},
			want: unavailable("Failed", "OutOfMemory: 0 of 1 replicas are available; pod chat-5d9f-abcde ran out of host memory after 2 restarts; raise resources.memory, and resources.memoryLimit if it is set"),
		},
		"CrashLooping": {
			reason: "The server's last words say more than any of ours.",
			seen:   map[string]string{nameDeployment: starting},
			cluster: []string{
				pod(`{"name": "server", "ready": false, "restartCount": 1, "image": "i", "imageID": "", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "ValueError: no such model\n"}}}`),
			},
			want: unavailable("Failed", "CrashLooping: 0 of 1 replicas are available; pod chat-5d9f-abcde crashed with exit code 1 after 1 restart: ValueError: no such model"),
		},
		"ProgressDeadlineExceeded": {
			reason: "Nothing else explains it.",
			seen: map[string]string{nameDeployment: live(`{"status": {
				"readyReplicas": null, "availableReplicas": null,
				"conditions": [
					{"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"},
					{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
				]
			}}`)},
			want: unavailable("Failed", "ProgressDeadlineExceeded: 0 of 1 replicas are available, and there was no progress for 2700 s"),
		},
		"ScalingUp": {
			reason: "An endpoint that serves with fewer replicas than its autoscaler wants is ready, but not done.",
			spec:   scaled,
			seen:   map[string]string{nameDeployment: live(`{"spec": {"replicas": 2}, "status": {"replicas": 2, "updatedReplicas": 2}}`)},
			want: serving("Degraded", "TRUE", withScaler, condSelected,
				"WorkloadReady=TRUE Available: 1 of 2 replicas are available", condService, condCacheOff, "ScalingReady=TRUE Active: between 1 and 4 replicas"),
		},
		"FewerThanAsked": {
			reason: "The user asked for two, and got one.",
			spec:   `{"spec": {"scaling": {"minReplicas": 2}}}`,
			seen:   map[string]string{nameDeployment: live(`{"status": {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1}}`)},
			want: serving("Degraded", "FALSE", []string{"config-object TRUE", "deployment-object FALSE", "disruptionbudget-object TRUE", "replicas-object TRUE", "service-object TRUE"}, condSelected,
				"WorkloadReady=FALSE Starting: 1 of 2 replicas are available", condService, condCacheOff, condFixed),
		},
		"DeploymentRefused": {
			reason: "The Object's Ready condition is of no use when its manifest was refused.",
			seen:   map[string]string{nameDeployment: notSynced("admission webhook says no")},
			want: want{phase: "Degraded", digest: digest{
				Ready: "FALSE", Resources: notServing, Connection: connection(),
				Conditions: []string{
					condSelected,
					"WorkloadReady=FALSE ApplyFailed: the workload keeps running as it was; cannot apply the Deployment: admission webhook says no",
					condService, condCacheOff, condFixed,
				},
			}},
		},
		"ServiceRefused": {
			reason: "Without its Service nobody can reach it.",
			seen:   map[string]string{nameService: notSynced("no more ports")},
			want: serving("Degraded", "FALSE", []string{"config-object TRUE", "deployment-object TRUE", "service-object FALSE"},
				condSelected, available, "ServiceReady=FALSE ApplyFailed: cannot apply the Service: no more ports", condCacheOff, condFixed),
		},
		"CacheRefused": {
			reason: "A volume that cannot be made is not what the user wants.",
			spec:   cached,
			seen:   map[string]string{nameCache: notSynced("exceeded quota")},
			want: serving("Degraded", "FALSE", []string{"cache-object FALSE", "config-object TRUE", "deployment-object TRUE", "service-object TRUE"},
				condSelected, available, condService, "CacheReady=FALSE ApplyFailed: cannot apply the cache's volume: exceeded quota", condFixed),
		},
		"AutoscalerRefused": {
			reason: "Optional or not: what the user asked for was refused.",
			spec:   scaled,
			seen:   map[string]string{nameAutoscaler: notSynced("no")},
			want: serving("Degraded", "FALSE", []string{"autoscaler-object FALSE", "config-object TRUE", "deployment-object TRUE", "disruptionbudget-object TRUE", "service-object TRUE"},
				condSelected, available, condService, condCacheOff, "ScalingReady=FALSE ApplyFailed: cannot apply the HorizontalPodAutoscaler: no"),
		},
		"RouteRefused": {
			reason: "It serves all the same, and by its hostname as it did before.",
			spec:   `{"spec": {"service": {"route": {"hostname": "llm.example.org", "ingressClass": "nginx"}}}}`,
			seen:   map[string]string{"ingress-object": notSynced("host is taken")},
			want: want{phase: "Ready", digest: digest{
				Ready: "TRUE", Resources: []string{"config-object TRUE", "deployment-object TRUE", "ingress-object TRUE", "service-object TRUE"},
				// An earlier form of it has an address.
				Connection: map[string]string{"url": "http://llm.example.org", "model": "Qwen/Qwen3-8B"},
				Conditions: []string{condSelected, available, condService, condCacheOff, condFixed, "RouteReady=FALSE ApplyFailed: cannot apply the Ingress: host is taken"},
			}},
		},
		"PolicyRefused": {
			reason: "It serves those, too, whom the user wants to keep out.",
			spec:   `{"spec": {"security": {"networkPolicy": {"enabled": true}}}}`,
			seen:   map[string]string{"networkpolicy-object": notSynced("no")},
			want: serving("Degraded", "FALSE", []string{"config-object TRUE", "deployment-object FALSE", "networkpolicy-object FALSE", "service-object TRUE"},
				condSelected, "WorkloadReady=FALSE ApplyFailed: the workload keeps running as it was; cannot apply the NetworkPolicy: no", condService, condCacheOff, condFixed),
		},
		"RefusedButNotWantedAnyMore": {
			reason: "An autoscaler that is on its way out may be refused for all we care. The Deployment gets another strategy without it.",
			spec:   scaled,
			change: `{"spec": {"scaling": {"maxReplicas": null}}}`,
			seen:   map[string]string{nameAutoscaler: notSynced("no")},
			want: serving("Degraded", "FALSE", []string{"config-object TRUE", "deployment-object FALSE", "service-object TRUE"},
				condSelected, "WorkloadReady=FALSE RolloutInProgress: the change is being applied", condService, condCacheOff, condFixed),
		},
		"WaitingForLoadBalancer": {
			reason: "Clients in the cluster need not wait.",
			spec:   `{"spec": {"service": {"type": "LoadBalancer"}}}`,
			want: serving("Degraded", "FALSE", []string{"config-object TRUE", "deployment-object TRUE", "service-object FALSE"},
				condSelected, available,
				"ServiceReady=FALSE WaitingForLoadBalancer: the cluster has assigned no address to the load balancer yet; clients in the cluster can use http://chat.team-a.svc.cluster.local:8000",
				condCacheOff, condFixed),
		},
		"CacheBound": {
			reason: "The volume is there.",
			spec:   cached,
			want: serving("Ready", "TRUE", withCache,
				condSelected, available, condService, "CacheReady=TRUE Bound: the volume chat-cache of 50Gi is bound; the server downloads the model: the platform has set no agentImage", condFixed),
		},
		"CacheWaiting": {
			reason:  "A volume may wait for the pod, so the pod does not wait for the volume.",
			spec:    cached,
			seen:    map[string]string{nameCache: live(`{"status": {"phase": "Pending"}}`)},
			cluster: []string{classExpandable},
			want: serving("Ready", "TRUE", withCache, condSelected, available, condService,
				"CacheReady=FALSE WaitingForConsumer: the PersistentVolumeClaim chat-cache is not bound yet; with some storage classes that waits for a pod", condFixed),
		},
		"CacheShrinks": {
			reason: "What cannot be is not rendered, but told.",
			spec:   cached,
			change: `{"spec": {"cache": {"size": "20Gi"}}}`,
			want: serving("Ready", "TRUE", withCache, condSelected, available, condService,
				"CacheReady=FALSE ShrinkIgnored: a volume cannot shrink: it stays at 50Gi, cache.size says 20Gi", condFixed),
		},
		"CacheCannotGrow": {
			reason: "What cannot be is not rendered, but told.",
			spec:   cached,
			change: `{"spec": {"cache": {"size": "80Gi"}}}`,
			want: serving("Ready", "TRUE", withCache, condSelected, available, condService,
				`CacheReady=FALSE ExpansionNotSupported: the storage class "standard" does not allow volumes to grow: it stays at 50Gi, cache.size says 80Gi`, condFixed),
		},
		"CacheGrows": {
			reason:  "The class allows it.",
			spec:    cached,
			change:  `{"spec": {"cache": {"size": "80Gi"}}}`,
			cluster: []string{classExpandable},
			want: serving("Ready", "TRUE", withCache, condSelected, available, condService,
				"CacheReady=TRUE Bound: the volume chat-cache of 50Gi is bound; the server downloads the model: the platform has set no agentImage", condFixed),
		},
		"CacheOfAnotherClass": {
			reason: "What cannot be is not rendered, but told.",
			spec:   cached,
			change: `{"spec": {"cache": {"storageClass": "fast"}}}`,
			want: serving("Ready", "TRUE", withCache, condSelected, available, condService,
				`CacheReady=FALSE StorageClassImmutable: cache.storageClass cannot change from "standard" to "fast"; to start with an empty volume, delete the AIMEndpoint, then the PersistentVolumeClaim chat-cache with all that it holds, and apply the AIMEndpoint again`, condFixed),
		},
		"Autoscaled": {
			reason: "The autoscaler says that it works.",
			spec:   scaled,
			want: serving("Ready", "TRUE", withScaler, condSelected, available, condService, condCacheOff,
				"ScalingReady=TRUE Active: between 1 and 4 replicas"),
		},
		"AutoscaledWithoutMetrics": {
			reason: "An absent metrics adapter costs a condition, nothing else.",
			spec:   scaled,
			seen: map[string]string{nameAutoscaler: live(`{"status": {"conditions": [
				{"type": "ScalingActive", "status": "False", "reason": "FailedGetPodsMetric", "message": "no metrics API"}
			]}}`)},
			want: serving("Ready", "TRUE", withScaler, condSelected, available, condService, condCacheOff,
				"ScalingReady=FALSE MetricsUnavailable: the replicas stay as they are, because the autoscaler gets no metrics: no metrics API; "+
					"for vllm_num_requests_waiting the cluster needs Prometheus, which monitoring.enabled makes scrape this endpoint, and prometheus-adapter with the rules in package/metrics"),
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := runningWorld(t, patches(tc.spec)...)
			w.provide(t, w.reconcile(t), tc.seen)
			w.xr = merged(w.xr, patches(tc.change)...)
			w.old = tc.old
			for _, o := range tc.cluster {
				w.cluster = append(w.cluster, resource.MustStructJSON(o))
			}
			// What changes of itself has been told of by the next run, for all
			// that we test here.
			rsp := w.reconcile(t)
			got := want{phase: at(statusOf(rsp), "phase").GetStringValue(), digest: digestOf(rsp)}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func patches(p ...string) []string {
	out := []string{}
	for _, p := range p {
		if p != "" {
			out = append(out, p)
		}
	}
	return out
}

// TestStatus is about the whole status, the explanation of the choice excepted.
// The selection identifies what the user asked for: a release that computed
// another one for the same spec would choose again for each endpoint, and
// restart those for which it chooses something else.
func TestStatus(t *testing.T) {
	recipe := `{
		"name": "qwen3-8b-mi300x-bfloat16-vllm", "source": "Builtin",
		"hardware": "MI300X", "gpuCount": 1, "precision": "bfloat16", "backend": "vllm",
		"image": "vllm/vllm-openai-rocm:v0.22.1",
		"memory": {"requiredGiBPerGPU": "24.3", "availableGiBPerGPU": "172.8", "maxConcurrentSequences": 27},
		"snapshot": {
			"selection": "efd96e0e932e8dc3",
			"model": "Qwen/Qwen3-8B",
			"image": "vllm/vllm-openai-rocm:v0.22.1",
			"command": ["vllm", "serve"],
			"args": ["Qwen/Qwen3-8B", "--served-model-name", "Qwen/Qwen3-8B", "--tensor-parallel-size", "1", "--max-model-len", "40960"],
			"env": [
				{"name": "VLLM_ENGINE_READY_TIMEOUT_S", "value": "10800"},
				{"name": "VLLM_NO_USAGE_STATS", "value": "1"},
				{"name": "VLLM_ROCM_USE_AITER", "value": "1"}
			],
			"port": 8000,
			"resources": {"requests": {"cpu": "4", "memory": "32Gi"}},
			"weightsGiB": 16
		}
	}`

	cases := map[string]struct {
		reason string
		spec   string
		seen   map[string]string
		want   string
	}{
		"Ready": {
			reason: "All that is known, and nothing that is not.",
			want: `{
				"phase": "Ready",
				"url": "http://chat.team-a.svc.cluster.local:8000",
				"servedModelName": "Qwen/Qwen3-8B",
				"endpoints": {"internal": "http://chat.team-a.svc.cluster.local:8000"},
				"replicas": {"current": 1, "desired": 1, "ready": 1, "available": 1},
				"selectedRecipe": ` + recipe + `
			}`,
		},
		"NotAvailable": {
			reason: "The status of one that does not serve is just as whole.",
			seen:   map[string]string{nameDeployment: starting},
			want: `{
				"phase": "Starting",
				"reason": "Starting",
				"url": "http://chat.team-a.svc.cluster.local:8000",
				"servedModelName": "Qwen/Qwen3-8B",
				"endpoints": {"internal": "http://chat.team-a.svc.cluster.local:8000"},
				"replicas": {"current": 1, "desired": 1, "ready": 0, "available": 0},
				"selectedRecipe": ` + recipe + `
			}`,
		},
		"LoadBalancer": {
			reason: "The address that the cluster assigned is what clients should use.",
			spec:   `{"spec": {"service": {"type": "LoadBalancer", "port": 80}}}`,
			seen:   map[string]string{nameService: live(`{"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}`)},
			want: `{
				"phase": "Ready",
				"url": "http://192.0.2.7:80",
				"servedModelName": "Qwen/Qwen3-8B",
				"endpoints": {
					"internal": "http://chat.team-a.svc.cluster.local:80",
					"external": "http://192.0.2.7:80",
					"loadBalancer": "http://192.0.2.7:80"
				},
				"replicas": {"current": 1, "desired": 1, "ready": 1, "available": 1},
				"selectedRecipe": ` + recipe + `
			}`,
		},
		"NodePort": {
			reason: "Which node's address a client can reach, the user knows better.",
			spec:   `{"spec": {"service": {"type": "NodePort"}}}`,
			seen:   map[string]string{nameService: live(`{"spec": {"ports": [{"name": "http", "port": 8000, "targetPort": 8000, "nodePort": 30080}]}}`)},
			want: `{
				"phase": "Ready",
				"url": "http://chat.team-a.svc.cluster.local:8000",
				"servedModelName": "Qwen/Qwen3-8B",
				"endpoints": {"internal": "http://chat.team-a.svc.cluster.local:8000", "nodePort": 30080},
				"replicas": {"current": 1, "desired": 1, "ready": 1, "available": 1},
				"selectedRecipe": ` + recipe + `
			}`,
		},
		"Autoscaled": {
			reason: "Metrics are those that the autoscaler measured, and no others.",
			spec:   `{"spec": {"scaling": {"maxReplicas": 4, "targetCPUUtilization": 70, "targetGPUUtilization": 80}}}`,
			seen: map[string]string{nameAutoscaler: live(`{"status": {"currentMetrics": [
				{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 41, "averageValue": "1640m"}}},
				{"type": "Pods", "pods": {"metric": {"name": "gpu_gfx_activity"}, "current": {"averageValue": "63500m"}}}
			]}}`)},
			want: `{
				"phase": "Ready",
				"url": "http://chat.team-a.svc.cluster.local:8000",
				"servedModelName": "Qwen/Qwen3-8B",
				"endpoints": {"internal": "http://chat.team-a.svc.cluster.local:8000"},
				"replicas": {"current": 1, "desired": 1, "ready": 1, "available": 1},
				"metrics": {"cpuUtilization": 41, "gpuUtilization": 64},
				"selectedRecipe": ` + recipe + `
			}`,
		},
	}

	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := runningWorld(t, patches(tc.spec)...)
			w.provide(t, w.reconcile(t), tc.seen)
			got := statusOf(w.reconcile(t))
			if n := len(at(got, "candidates").GetListValue().GetValues()); n != 10 {
				t.Errorf("%s\nOf many candidates the status has ten, not %d", tc.reason, n)
			}
			if at(got, "selectedRecipe", "reason").GetStringValue() == "" {
				t.Errorf("%s\nNothing explains the choice", tc.reason)
			}
			delete(got.GetFields(), "candidates")
			delete(at(got, "selectedRecipe").GetStructValue().GetFields(), "reason")
			if diff := cmp.Diff(resource.MustStructJSON(tc.want).AsMap(), got.AsMap()); diff != "" {
				t.Errorf("%s\nf.RunFunction(...): -want status, +got status:\n%s", tc.reason, diff)
			}
		})
	}
}
