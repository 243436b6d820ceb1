package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An AIMCache keeps models on a volume that endpoints of its namespace share.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=aimcaches,singular=aimcache,shortName=aimcache,categories={aim}
// +kubebuilder:printcolumn:name="PHASE",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="REASON",type=string,JSONPath=`.status.reason`
// +kubebuilder:printcolumn:name="MODELS",type=integer,JSONPath=`.status.usage.totalModels`
// +kubebuilder:printcolumn:name="USED",type=string,JSONPath=`.status.storage.usedSize`
// +kubebuilder:printcolumn:name="SIZE",type=string,JSONPath=`.status.storage.totalSize`
type AIMCache struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AIMCacheSpec   `json:"spec"`
	Status AIMCacheStatus `json:"status,omitempty"`
}

// An Age is a number with a unit: seconds, minutes, hours, days or weeks.
// +kubebuilder:validation:MaxLength=16
// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[1-9][0-9]{0,8}(s|m|h|d|w)$')",message="must be a number with a unit, such as 12h, 7d or 4w: s, m, h, d or w"
type Age string

// AIMCacheSpec says what is kept, where, and for how long.
type AIMCacheSpec struct {
	// Storage of the models.
	Storage CacheStorage `json:"storage"`

	// Models that may be in the cache. What else endpoints download stays until
	// it is cleaned up.
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=64
	Models []CacheModel `json:"models,omitempty"`

	// Cleanup removes models that are old, or when space is short.
	// +optional
	Cleanup *CacheCleanup `json:"cleanup,omitempty"`

	// HFTokenSecretRef is a Secret in the cache's namespace with a Hugging Face
	// token, for gated models. Its value is passed to downloads as the
	// environment variable HF_TOKEN.
	// +optional
	HFTokenSecretRef *SecretKeyRef `json:"hfTokenSecretRef,omitempty"`

	// Retain keeps the volume when the cache is deleted, for a later cache of
	// the same name.
	// +optional
	// +kubebuilder:default=true
	Retain *bool `json:"retain,omitempty"`
}

// CacheStorage is the volume of a cache.
type CacheStorage struct {
	// StorageClass of the volume; the platform's or the cluster's default if
	// unset. Cannot change once the volume exists.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of a StorageClass: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit"
	StorageClass string `json:"storageClass,omitempty"`

	// Size of the volume. It can grow where the storage class allows that,
	// never shrink.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:XValidation:rule="!isQuantity(self) || quantity(self).isLessThan(quantity('0')) || !quantity(self).isLessThan(quantity('1Mi'))",message="must be at least 1Mi: give a unit, such as 500Gi"
	Size Quantity `json:"size"`

	// AccessMode of the volume. Endpoints on several nodes need ReadWriteMany.
	// Cannot change once the volume exists.
	// +optional
	// +kubebuilder:default=ReadWriteOnce
	// +kubebuilder:validation:Enum=ReadWriteOnce;ReadWriteMany;ReadWriteOncePod
	AccessMode string `json:"accessMode,omitempty"`

	// MountPath is where endpoints mount the cache.
	// +optional
	// +kubebuilder:default="/workspace/model-cache"
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:XValidation:rule="self.matches('^/[A-Za-z0-9._/-]+$') && !self.contains('..')",message="must be an absolute path, such as /workspace/model-cache"
	// +kubebuilder:validation:XValidation:rule="!(self in ['/dev', '/dev/shm', '/proc', '/sys', '/etc', '/usr', '/bin', '/lib', '/opt', '/tmp'])",message="must not hide a folder that the server needs: choose one of its own, such as /workspace/model-cache"
	MountPath string `json:"mountPath,omitempty"`
}

// A CacheModel may be in a cache.
type CacheModel struct {
	// ID of the model on the Hugging Face Hub: org/name.
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?/[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$')",message="must be a Hugging Face model id of the form org/name, such as Qwen/Qwen3-32B"
	ID string `json:"id"`

	// Revision of the model's repository: a commit, tag or branch. Unset means
	// the repository's default branch.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[A-Za-z0-9][A-Za-z0-9._/-]*$')",message="must be a commit, tag or branch of the model's repository, such as main"
	Revision string `json:"revision,omitempty"`

	// Priority of the model: those of high priority are evicted last.
	// +optional
	// +kubebuilder:default=medium
	// +kubebuilder:validation:Enum=high;medium;low
	Priority string `json:"priority,omitempty"`

	// Retention is how long the model is kept after it was last used, whatever
	// cleanup.maxAge says.
	// +optional
	Retention Age `json:"retention,omitempty"`

	// MaxSize of the model: one that is larger is not downloaded.
	// +optional
	MaxSize Quantity `json:"maxSize,omitempty"`

	// Preload downloads the model as soon as the cache is there.
	// +optional
	// +kubebuilder:default=false
	Preload *bool `json:"preload,omitempty"`
}

// CacheCleanup removes models from a cache.
type CacheCleanup struct {
	// Enabled cleans up on a schedule.
	// +optional
	// +kubebuilder:default=false
	Enabled *bool `json:"enabled,omitempty"`

	// Schedule of the clean-up, as of cron, in UTC.
	// +optional
	// +kubebuilder:default="0 3 * * *"
	// +kubebuilder:validation:MaxLength=128
	Schedule string `json:"schedule,omitempty"`

	// MaxAge of a model since it was last used.
	// +optional
	MaxAge Age `json:"maxAge,omitempty"`

	// MinFreeSpace on the volume: models are evicted until there is as much.
	// +optional
	MinFreeSpace Quantity `json:"minFreeSpace,omitempty"`

	// Strategy says which model goes first: the one that was not used for
	// longest (lru), is used least (lfu), came first (fifo), or is largest
	// (size).
	// +optional
	// +kubebuilder:default=lru
	// +kubebuilder:validation:Enum=lru;lfu;fifo;size
	Strategy string `json:"strategy,omitempty"`
}
