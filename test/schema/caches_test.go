package schema

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/aim-engine/function-aim/apis/v1alpha1"
)

const minimalCache = `storage: {size: 500Gi}`

func acceptedCaches() map[string]acceptedSample {
	return map[string]acceptedSample{
		"Minimal": {
			reason: "A size is all that must be said.",
			spec:   minimalCache,
			want: `
storage: {size: 500Gi, accessMode: ReadWriteOnce, mountPath: /workspace/model-cache}
retain: true
`,
		},
		"Defaults": {
			reason: "What a section leaves out has the documented defaults.",
			spec: `
storage: {size: 500Gi}
models: [{id: Qwen/Qwen3-32B}]
cleanup: {}
`,
			want: `
storage: {size: 500Gi, accessMode: ReadWriteOnce, mountPath: /workspace/model-cache}
models: [{id: Qwen/Qwen3-32B, priority: medium, preload: false}]
cleanup: {enabled: false, schedule: 0 3 * * *, strategy: lru}
retain: true
`,
		},
		"EmptyStrings": {
			reason: "Templates leave strings empty where there is nothing to say.",
			spec: `
storage: {size: 500Gi, storageClass: ""}
models: [{id: Qwen/Qwen3-32B, revision: "", retention: "", maxSize: ""}]
cleanup: {maxAge: "", minFreeSpace: ""}
`,
			want: `
storage: {size: 500Gi, storageClass: "", accessMode: ReadWriteOnce, mountPath: /workspace/model-cache}
models: [{id: Qwen/Qwen3-32B, revision: "", retention: "", maxSize: "", priority: medium, preload: false}]
cleanup: {enabled: false, maxAge: "", minFreeSpace: "", schedule: 0 3 * * *, strategy: lru}
retain: true
`,
		},
		"EarlierOperator": {
			reason: "A manifest that was written for the earlier operator applies unchanged.",
			spec: `
storage: {storageClass: fast-ssd, size: 1Ti, accessMode: ReadWriteMany, mountPath: /workspace/model-cache}
models:
- {id: Qwen/Qwen3-32B, priority: high, retention: 30d, maxSize: 100Gi, preload: true}
- {id: google/gemma-3-27b-it, priority: low, retention: 2w}
cleanup: {enabled: true, schedule: 0 2 * * *, maxAge: 720h, minFreeSpace: 100Gi, strategy: lru}
`,
			want: `
storage: {storageClass: fast-ssd, size: 1Ti, accessMode: ReadWriteMany, mountPath: /workspace/model-cache}
models:
- {id: Qwen/Qwen3-32B, priority: high, retention: 30d, maxSize: 100Gi, preload: true}
- {id: google/gemma-3-27b-it, priority: low, retention: 2w, preload: false}
cleanup: {enabled: true, schedule: 0 2 * * *, maxAge: 720h, minFreeSpace: 100Gi, strategy: lru}
retain: true
`,
		},
		"Full": {
			reason: "Every field may be set at once.",
			spec:   fullCache,
			want:   fullCache,
		},
	}
}

const fullCache = `
storage: {storageClass: fast.nvme, size: 1.5Ti, accessMode: ReadWriteOncePod, mountPath: /data/models}
models:
- {id: meta-llama/Llama-3.1-70B-Instruct, revision: refs/pr/12, priority: high, retention: 999999999s, maxSize: 200Gi, preload: true}
- {id: openai/gpt-oss-20b, revision: main, priority: low, retention: 4w, maxSize: 50G, preload: false}
cleanup: {enabled: true, schedule: 30 2 * * 6, maxAge: 90m, minFreeSpace: 100Gi, strategy: size}
hfTokenSecretRef: {name: hugging-face, key: HF_TOKEN}
retain: false
compositionUpdatePolicy: Manual
compositionSelector:
  matchLabels: {aim.engine.amd.com/composition: default}
`

func rejectedCaches() map[string]rejectedSample {
	const (
		age      = "must be a number with a unit, such as 12h, 7d or 4w: s, m, h, d or w"
		modelID  = "must be a Hugging Face model id of the form org/name, such as Qwen/Qwen3-32B"
		quantity = "must be a quantity such as 500m, 4 or 16Gi. Units are Ki, Mi, Gi, Ti or k, M, G, T; not KB, GB or GiB"
		path     = "must be an absolute path, such as /workspace/model-cache"
		hides    = "must not hide a folder that the server needs: choose one of its own, such as /workspace/model-cache"
	)

	// with is a spec whose storage is all right, and something else is not.
	with := func(spec string) string { return minimalCache + "\n" + spec }

	return map[string]rejectedSample{
		"CacheWithoutStorage": {
			reason: "A cache needs a volume.",
			spec:   `models: [{id: Qwen/Qwen3-32B}]`,
			want:   []string{"spec.storage: Required value"},
		},
		"CacheWithoutSize": {
			reason: "Nobody can guess how large.",
			spec:   `storage: {}`,
			want:   []string{"spec.storage.size: Required value"},
		},
		"CacheOfEmptySize": {
			reason: "An empty size is none.",
			spec:   `storage: {size: ""}`,
			want:   []string{`spec.storage.size: Invalid value: "": spec.storage.size in body should be at least 1 chars long`},
		},
		"CacheSizeInGB": {
			reason: "GB is not a unit of Kubernetes.",
			spec:   `storage: {size: 500GB}`,
			want:   []string{`spec.storage.size: Invalid value: "500GB": ` + quantity},
		},
		"CacheSizeWithoutUnit": {
			reason: "Five hundred bytes are a forgotten unit.",
			spec:   `storage: {size: "500"}`,
			want:   []string{`spec.storage.size: Invalid value: "500": must be at least 1Mi: give a unit, such as 500Gi`},
		},
		"CacheStorageClass": {
			reason: "No StorageClass can have such a name.",
			spec:   `storage: {size: 1Gi, storageClass: Fast_NVMe}`,
			want:   []string{`spec.storage.storageClass: Invalid value: "Fast_NVMe": must be the name of a StorageClass: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit`},
		},
		"CacheAccessMode": {
			reason: "Nobody could fill a volume that is for reading only.",
			spec:   `storage: {size: 1Gi, accessMode: ReadOnlyMany}`,
			want:   []string{`spec.storage.accessMode: Unsupported value: "ReadOnlyMany": supported values: "ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"`},
		},
		"CacheRelativePath": {
			reason: "A mount has an absolute path.",
			spec:   `storage: {size: 1Gi, mountPath: models}`,
			want:   []string{`spec.storage.mountPath: Invalid value: "models": ` + path},
		},
		"CachePathUpwards": {
			reason: "And leads nowhere else.",
			spec:   `storage: {size: 1Gi, mountPath: /models/../etc}`,
			want:   []string{`spec.storage.mountPath: Invalid value: "/models/../etc": ` + path},
		},
		"CacheHides": {
			reason: "A cache in place of the server's programs ends the server.",
			spec:   `storage: {size: 1Gi, mountPath: /usr}`,
			want:   []string{`spec.storage.mountPath: Invalid value: "/usr": ` + hides},
		},
		"CachedModelID": {
			reason: "Hugging Face ids have two parts.",
			spec:   with(`models: [{id: qwen3}]`),
			want:   []string{`spec.models[0].id: Invalid value: "qwen3": ` + modelID},
		},
		"CachedModelRevision": {
			reason: "A revision is an argument of the agent, and must not look like an option.",
			spec:   with(`models: [{id: Qwen/Qwen3-32B, revision: --all}]`),
			want:   []string{`spec.models[0].revision: Invalid value: "--all": must be a commit, tag or branch of the model's repository, such as main`},
		},
		"CachedModelTwice": {
			reason: "A model has one policy.",
			spec:   with(`models: [{id: Qwen/Qwen3-32B}, {id: Qwen/Qwen3-32B, priority: high}]`),
			want:   []string{`spec.models[1]: Duplicate value: {"id":"Qwen/Qwen3-32B"}`},
		},
		"CachedModelPriority": {
			reason: "There are three priorities.",
			spec:   with(`models: [{id: Qwen/Qwen3-32B, priority: highest}]`),
			want:   []string{`spec.models[0].priority: Unsupported value: "highest": supported values: "high", "medium", "low"`},
		},
		"CachedModelRetention": {
			reason: "Thirty of what?",
			spec:   with(`models: [{id: Qwen/Qwen3-32B, retention: "30"}]`),
			want:   []string{`spec.models[0].retention: Invalid value: "30": ` + age},
		},
		"CachedModelMaxSize": {
			reason: "GB is not a unit of Kubernetes here, either.",
			spec:   with(`models: [{id: Qwen/Qwen3-32B, maxSize: 100GB}]`),
			want:   []string{`spec.models[0].maxSize: Invalid value: "100GB": ` + quantity},
		},
		"CleanupMaxAge": {
			reason: "A month is not of the same length each time.",
			spec:   with(`cleanup: {maxAge: 1month}`),
			want:   []string{`spec.cleanup.maxAge: Invalid value: "1month": ` + age},
		},
		"CleanupNoAge": {
			reason: "What is evicted at once need not be downloaded.",
			spec:   with(`cleanup: {maxAge: 0d}`),
			want:   []string{`spec.cleanup.maxAge: Invalid value: "0d": ` + age},
		},
		"CleanupMinFreeSpace": {
			reason: "A share is no quantity.",
			spec:   with(`cleanup: {minFreeSpace: 10%}`),
			want:   []string{`spec.cleanup.minFreeSpace: Invalid value: "10%": ` + quantity},
		},
		"CleanupStrategy": {
			reason: "There are four strategies.",
			spec:   with(`cleanup: {strategy: random}`),
			want:   []string{`spec.cleanup.strategy: Unsupported value: "random": supported values: "lru", "lfu", "fifo", "size"`},
		},
		"CacheSecretName": {
			reason: "No Secret can have such a name.",
			spec:   with(`hfTokenSecretRef: {name: HF_TOKEN, key: token}`),
			want:   []string{`spec.hfTokenSecretRef.name: Invalid value: "HF_TOKEN": must be the name of a Kubernetes object: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit`},
		},
		"CacheSecretKey": {
			reason: "A Secret must be asked for one of its keys.",
			spec:   with(`hfTokenSecretRef: {name: hf, key: ""}`),
			want:   []string{`spec.hfTokenSecretRef.key: Invalid value: "": must be a key of a Secret: letters, digits, '-', '_' and '.'`},
		},
		"CacheUnknownField": {
			reason: "A misspelt field must not be ignored.",
			spec:   with(`cleanup: {minFree: 10Gi}`),
			want:   []string{`unknown field "spec.cleanup.minFree"`},
		},
	}
}

// fullCacheStatus has every field set.
func fullCacheStatus() v1alpha1.AIMCacheStatus {
	at := metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	return v1alpha1.AIMCacheStatus{
		Phase:              v1alpha1.CacheDegraded,
		Reason:             string(v1alpha1.ReasonPreloadFailed),
		ObservedGeneration: 3,
		Storage: &v1alpha1.CacheStorageStatus{
			PVCName: "models-storage", PVCPhase: "Bound", TotalSize: "500Gi", UsedSize: "100Gi", AvailableSize: "400Gi", UsagePercentage: new(int32(20)),
		},
		CachedModels: []v1alpha1.CachedModel{
			{
				ID: "Qwen/Qwen3-32B", Revision: "main", Commit: "0123456789abcdef0123456789abcdef01234567", Size: "61Gi",
				CachedAt: &at, LastAccessed: &at, AccessCount: new(int64(3)), Status: "Cached",
			},
			// A model may be there at more than one revision.
			{ID: "Qwen/Qwen3-32B", Revision: "v2", Status: "Downloading", Progress: new(int32(25))},
			{ID: "acme/own", Status: "Failed", Message: "There is no such model."},
			{ID: "acme/old", Status: "Evicted"},
			{ID: "acme/new", Status: "Pending"},
		},
		Usage:  &v1alpha1.CacheUsage{TotalModels: new(int32(1)), ActiveModels: new(int32(2)), LastCleanup: &at, NextCleanup: &at},
		UsedBy: []string{"team-a/chat"},
	}
}
