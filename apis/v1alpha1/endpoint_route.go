package v1alpha1

// A Route leads clients from outside of the cluster to an endpoint: through a
// Gateway by an HTTPRoute, or through an ingress controller by an Ingress. When
// neither is named, it is what the platform has.
//
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || !has(self.ingressClass) || size(self.ingressClass) == 0",message="must not be set together with gateway: remove one of them",fieldPath=".ingressClass"
// +kubebuilder:validation:XValidation:rule="!has(self.gateway) || !has(self.tlsSecretName) || size(self.tlsSecretName) == 0",message="is for an Ingress: the certificate of a Gateway belongs to its listener. Remove tlsSecretName",fieldPath=".tlsSecretName"
type Route struct {
	// Hostname that clients use.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?([.][a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$')",message="must be a hostname in lowercase, such as llm.example.com"
	Hostname string `json:"hostname"`

	// Gateway through which the endpoint is reached.
	// +optional
	Gateway *GatewayReference `json:"gateway,omitempty"`

	// IngressClass of an ingress controller through which it is reached.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of an IngressClass: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit"
	IngressClass string `json:"ingressClass,omitempty"`

	// TLSSecretName is a Secret in the endpoint's namespace with a certificate
	// for the hostname, which an ingress controller serves.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="must be the name of a Secret: lowercase letters, digits, '-' and '.', starting and ending with a letter or digit"
	TLSSecretName string `json:"tlsSecretName,omitempty"`
}

// A GatewayReference names a Gateway.
type GatewayReference struct {
	// Name of the Gateway.
	Name ObjectName `json:"name"`

	// Namespace of the Gateway; the endpoint's if unset. The Gateway must
	// allow routes from there.
	// +optional
	Namespace ObjectName `json:"namespace,omitempty"`

	// SectionName of the Gateway's listener; all of them if unset.
	// +optional
	SectionName ObjectName `json:"sectionName,omitempty"`
}
