package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A CachePhase summarises an AIMCache in one word.
// +kubebuilder:validation:Enum=Pending;Preloading;Ready;Degraded;Failed
type CachePhase string

// Phases of an AIMCache.
const (
	// CachePending waits for its volume.
	CachePending CachePhase = "Pending"
	// CachePreloading downloads models.
	CachePreloading CachePhase = "Preloading"
	// CacheReady has what it should have.
	CacheReady CachePhase = "Ready"
	// CacheDegraded can be used, but not all is as the spec wants it.
	CacheDegraded CachePhase = "Degraded"
	// CacheFailed cannot be used without a change.
	CacheFailed CachePhase = "Failed"
)

// AIMCacheStatus is what was measured on the volume; what was not is absent.
type AIMCacheStatus struct {
	// Phase summarises the cache in one word.
	// +optional
	Phase CachePhase `json:"phase,omitempty"`

	// Reason of the first thing that is not right; empty when all is.
	// +optional
	Reason string `json:"reason,omitempty"`

	// ObservedGeneration of the composite that this status is of; absent where
	// there is a claim, whose generations are others.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Storage as it was measured when somebody last looked.
	// +optional
	Storage *CacheStorageStatus `json:"storage,omitempty"`

	// CachedModels that are on the volume, or should be.
	// +optional
	// +listType=atomic
	CachedModels []CachedModel `json:"cachedModels,omitempty"`

	// Usage of the cache.
	// +optional
	Usage *CacheUsage `json:"usage,omitempty"`

	// UsedBy are the endpoints that mount the cache.
	// +optional
	// +listType=atomic
	UsedBy []string `json:"usedBy,omitempty"`
}

// CacheStorageStatus is what is known of a volume.
type CacheStorageStatus struct {
	// PVCName of the volume, and its phase.
	// +optional
	PVCName string `json:"pvcName,omitempty"`
	// +optional
	PVCPhase string `json:"pvcPhase,omitempty"`

	// TotalSize, UsedSize and AvailableSize of the file system, as quantities.
	// +optional
	TotalSize string `json:"totalSize,omitempty"`
	// +optional
	UsedSize string `json:"usedSize,omitempty"`
	// +optional
	AvailableSize string `json:"availableSize,omitempty"`

	// UsagePercentage of the file system.
	// +optional
	UsagePercentage *int32 `json:"usagePercentage,omitempty"`
}

// A CachedModel is on a volume, or should be.
type CachedModel struct {
	// ID of the model.
	ID string `json:"id"`

	// Revision of the model: the branch, tag or commit that was asked for.
	// +optional
	Revision string `json:"revision,omitempty"`

	// Commit that the revision was when it was downloaded.
	// +optional
	Commit string `json:"commit,omitempty"`

	// Size on the volume, as a quantity.
	// +optional
	Size string `json:"size,omitempty"`

	// CachedAt is when the download was complete.
	// +optional
	CachedAt *metav1.Time `json:"cachedAt,omitempty"`

	// LastAccessed is the last clean-up at which an endpoint used it.
	// +optional
	LastAccessed *metav1.Time `json:"lastAccessed,omitempty"`

	// AccessCount is at how many clean-ups an endpoint used it.
	// +optional
	AccessCount *int64 `json:"accessCount,omitempty"`

	// Status of the model.
	// +kubebuilder:validation:Enum=Pending;Downloading;Cached;Failed;Evicted
	Status string `json:"status"`

	// Progress of a download, in percent.
	// +optional
	Progress *int32 `json:"progress,omitempty"`

	// Message says why it failed or was evicted.
	// +optional
	Message string `json:"message,omitempty"`
}

// CacheUsage is how a cache is used.
type CacheUsage struct {
	// TotalModels on the volume.
	// +optional
	TotalModels *int32 `json:"totalModels,omitempty"`

	// ActiveModels are those that running endpoints use.
	// +optional
	ActiveModels *int32 `json:"activeModels,omitempty"`

	// LastCleanup is when the last clean-up ended.
	// +optional
	LastCleanup *metav1.Time `json:"lastCleanup,omitempty"`

	// NextCleanup is when the next one is due.
	// +optional
	NextCleanup *metav1.Time `json:"nextCleanup,omitempty"`
}
