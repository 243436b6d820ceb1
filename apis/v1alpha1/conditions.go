package v1alpha1

// A ConditionType of an AIMEndpoint. Ready and Synced are Crossplane's own.
type ConditionType string

// Conditions of an AIMEndpoint, in the order in which they matter: the first
// one that is not right is what the endpoint's reason says.
const (
	// ConditionRecipeSelected says whether a recipe was found. Gates Ready.
	ConditionRecipeSelected ConditionType = "RecipeSelected"
	// ConditionWorkloadReady says whether the server is available. Gates Ready.
	ConditionWorkloadReady ConditionType = "WorkloadReady"
	// ConditionServiceReady says whether clients can reach it. Gates Ready.
	ConditionServiceReady ConditionType = "ServiceReady"
	// ConditionCacheReady says whether the model cache is bound.
	ConditionCacheReady ConditionType = "CacheReady"
	// ConditionScalingReady says whether autoscaling works.
	ConditionScalingReady ConditionType = "ScalingReady"
	// ConditionRouteReady says whether clients from outside of the cluster reach
	// it by its hostname.
	ConditionRouteReady ConditionType = "RouteReady"
	// ConditionMonitoringReady says whether it is monitored.
	ConditionMonitoringReady ConditionType = "MonitoringReady"
	// ConditionCanaryHealthy says what became of the last canary.
	ConditionCanaryHealthy ConditionType = "CanaryHealthy"
)

// A ConditionReason says why a condition has its status.
type ConditionReason string

// Reasons of RecipeSelected.
const (
	ReasonSelected              ConditionReason = "Selected"
	ReasonNoRecipeForModel      ConditionReason = "NoRecipeForModel"
	ReasonNoRecipeMatches       ConditionReason = "NoRecipeMatches"
	ReasonInsufficientGPUMemory ConditionReason = "InsufficientGPUMemory"
	ReasonRecipeNotFound        ConditionReason = "RecipeNotFound"
	ReasonRecipeInvalid         ConditionReason = "RecipeInvalid"
	ReasonKeptPinned            ConditionReason = "KeptPinned"
)

// Reasons of WorkloadReady.
const (
	ReasonAvailable                ConditionReason = "Available"
	ReasonStarting                 ConditionReason = "Starting"
	ReasonWaitingForGPU            ConditionReason = "WaitingForGPU"
	ReasonImagePullFailed          ConditionReason = "ImagePullFailed"
	ReasonModelDownloadFailed      ConditionReason = "ModelDownloadFailed"
	ReasonOutOfMemory              ConditionReason = "OutOfMemory"
	ReasonCrashLooping             ConditionReason = "CrashLooping"
	ReasonProgressDeadlineExceeded ConditionReason = "ProgressDeadlineExceeded"
	ReasonRolloutInProgress        ConditionReason = "RolloutInProgress"
	ReasonNameConflict             ConditionReason = "NameConflict"
	ReasonApplyFailed              ConditionReason = "ApplyFailed"
)

// Reasons of ServiceReady, CacheReady and ScalingReady.
const (
	ReasonWaitingForLoadBalancer ConditionReason = "WaitingForLoadBalancer"
	ReasonBound                  ConditionReason = "Bound"
	ReasonWaitingForConsumer     ConditionReason = "WaitingForConsumer"
	ReasonShrinkIgnored          ConditionReason = "ShrinkIgnored"
	ReasonStorageClassImmutable  ConditionReason = "StorageClassImmutable"
	ReasonStorageClassNotFound   ConditionReason = "StorageClassNotFound"
	ReasonVolumeLost             ConditionReason = "VolumeLost"
	ReasonExpansionNotSupported  ConditionReason = "ExpansionNotSupported"
	ReasonActive                 ConditionReason = "Active"
	ReasonMetricsUnavailable     ConditionReason = "MetricsUnavailable"
	ReasonDisabled               ConditionReason = "Disabled"
)

// Reasons of ScalingReady where the platform scales with KEDA.
const (
	ReasonKEDANotInstalled  ConditionReason = "KEDANotInstalled"
	ReasonCannotScaleToZero ConditionReason = "CannotScaleToZero"
)

// Reasons of RouteReady.
const (
	ReasonAccepted               ConditionReason = "Accepted"
	ReasonPending                ConditionReason = "Pending"
	ReasonNotAccepted            ConditionReason = "NotAccepted"
	ReasonGatewayAPINotInstalled ConditionReason = "GatewayAPINotInstalled"
	ReasonNoGateway              ConditionReason = "NoGateway"
)

// Reasons of MonitoringReady.
const (
	ReasonInstalled                      ConditionReason = "Installed"
	ReasonPrometheusOperatorNotInstalled ConditionReason = "PrometheusOperatorNotInstalled"
)

// Reasons of CanaryHealthy.
const (
	ReasonNoCanary   ConditionReason = "NoCanary"
	ReasonInProgress ConditionReason = "InProgress"
	ReasonPromoted   ConditionReason = "Promoted"
	ReasonRolledBack ConditionReason = "RolledBack"
)

// ConditionValid of an AIMRecipe says whether it can be used. Gates Ready.
const ConditionValid ConditionType = "Valid"

// Reasons of Valid.
const (
	ReasonValidationSucceeded ConditionReason = "ValidationSucceeded"
	ReasonValidationFailed    ConditionReason = "ValidationFailed"
)

// Conditions of an AIMCache, beside CacheReady, which gates Ready there.
const (
	// ConditionModelsReady says whether all models that should be preloaded are.
	ConditionModelsReady ConditionType = "ModelsReady"
	// ConditionCleanupReady says what became of the last clean-up.
	ConditionCleanupReady ConditionType = "CleanupReady"
)

// Reasons of caches, and of endpoints that use one.
const (
	ReasonPreloading    ConditionReason = "Preloading"
	ReasonPreloaded     ConditionReason = "Preloaded"
	ReasonPreloadFailed ConditionReason = "PreloadFailed"
	ReasonScheduled     ConditionReason = "Scheduled"
	ReasonInvalid       ConditionReason = "Invalid"
	ReasonShortOfSpace  ConditionReason = "ShortOfSpace"
)

// A Phase summarises an AIMEndpoint in one word.
// +kubebuilder:validation:Enum=Pending;Starting;Ready;Degraded;Failed
type Phase string

// Phases of an AIMEndpoint.
const (
	// PhasePending means that no workload exists yet, and why is in the reason.
	PhasePending Phase = "Pending"
	// PhaseStarting means that the workload exists and has not served yet.
	PhaseStarting Phase = "Starting"
	// PhaseReady means that all is as the spec wants it.
	PhaseReady Phase = "Ready"
	// PhaseDegraded means that it serves, but not all is as the spec wants it.
	PhaseDegraded Phase = "Degraded"
	// PhaseFailed means that it does not serve, and will not without a change.
	PhaseFailed Phase = "Failed"
)
