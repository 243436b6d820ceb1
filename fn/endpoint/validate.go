package endpoint

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/crossplane/function-sdk-go/errors"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/aim-engine/function-aim/fn/engine"
	"github.com/aim-engine/function-aim/fn/recipe"
)

// Problems of the spec that its schema cannot find: what would make manifests
// that the API server refuses, of which the Objects could not even be deleted,
// and arguments with which the engine would not start.
func (e Endpoint) Problems() []string {
	d := e.Spec.Deployment
	p := field.NewPath("spec", "deployment")
	var out []string
	for _, f := range recipe.CheckEnv(p.Child("env"), d.Env) {
		if f.Severity == string(engine.SeverityError) {
			out = append(out, f.Path+": "+f.Message)
		}
	}
	_, findings := e.extraArgs()
	for _, f := range findings {
		if f.Severity == engine.SeverityError {
			out = append(out, fmt.Sprintf("%s: %s %s", p.Child("extraArgs"), f.Arg, f.Message))
		}
	}
	errs := ValidateTolerations(p.Child("tolerations"), d.Tolerations)
	errs = append(errs, validateAffinity(p.Child("affinity"), d.Affinity)...)
	if np := e.security().NetworkPolicy; np != nil {
		errs = append(errs, ValidatePeers(field.NewPath("spec", "security", "networkPolicy", "allowFrom"), np.AllowFrom)...)
	}
	for _, err := range errs {
		out = append(out, err.Error())
	}
	return out
}

func describeFindings(findings []engine.Finding) string {
	lines := make([]string, 0, len(findings))
	for _, f := range findings {
		lines = append(lines, fmt.Sprintf("deployment.extraArgs: %s %s", f.Arg, f.Message))
	}
	return strings.Join(lines, "\n")
}

// ValidateTolerations as the API server does.
func ValidateTolerations(p *field.Path, ts []corev1.Toleration) field.ErrorList {
	var errs field.ErrorList
	for i, t := range ts {
		p := p.Index(i)
		switch {
		case t.Operator == corev1.TolerationOpExists && t.Value != "":
			errs = append(errs, field.Invalid(p.Child("value"), t.Value, "must be empty when operator is Exists"))
		case t.Operator != corev1.TolerationOpExists && t.Key == "":
			errs = append(errs, field.Required(p.Child("key"), "operator must be Exists when there is no key"))
		case !slices.Contains([]corev1.TolerationOperator{"", corev1.TolerationOpEqual, corev1.TolerationOpExists}, t.Operator):
			errs = append(errs, field.NotSupported(p.Child("operator"), t.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
		}
		if t.Key != "" {
			errs = append(errs, metav1validation.ValidateLabelName(t.Key, p.Child("key"))...)
		}
		for _, msg := range metav1validation.ValidateLabels(map[string]string{"value": t.Value}, p.Child("value")) {
			errs = append(errs, field.Invalid(p.Child("value"), t.Value, msg.Detail))
		}
		effects := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
		if t.Effect != "" && !slices.Contains(effects, t.Effect) {
			errs = append(errs, field.NotSupported(p.Child("effect"), t.Effect, effects))
		}
		if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
			errs = append(errs, field.Invalid(p.Child("effect"), t.Effect, "must be NoExecute when tolerationSeconds is set"))
		}
	}
	return errs
}

// ValidatePeers of a NetworkPolicy as the API server does.
func ValidatePeers(p *field.Path, peers []networkingv1.NetworkPolicyPeer) field.ErrorList {
	var errs field.ErrorList
	for i, peer := range peers {
		p := p.Index(i)
		errs = append(errs, selector(p.Child("podSelector"), peer.PodSelector)...)
		errs = append(errs, selector(p.Child("namespaceSelector"), peer.NamespaceSelector)...)
		switch b := peer.IPBlock; {
		case b == nil && peer.PodSelector == nil && peer.NamespaceSelector == nil:
			errs = append(errs, field.Required(p, "must hold a podSelector, a namespaceSelector or an ipBlock"))
		case b == nil:
		case peer.PodSelector != nil || peer.NamespaceSelector != nil:
			errs = append(errs, field.Forbidden(p.Child("ipBlock"), "must not be set together with a selector"))
		default:
			errs = append(errs, ipBlock(p.Child("ipBlock"), *b)...)
		}
	}
	return errs
}

func ipBlock(p *field.Path, b networkingv1.IPBlock) field.ErrorList {
	all, err := netip.ParsePrefix(b.CIDR)
	if err != nil {
		return field.ErrorList{field.Invalid(p.Child("cidr"), b.CIDR, "must be a range of addresses such as 10.0.0.0/8")}
	}
	var errs field.ErrorList
	for i, s := range b.Except {
		part, err := netip.ParsePrefix(s)
		if err != nil || !all.Contains(part.Addr()) || part.Bits() <= all.Bits() {
			errs = append(errs, field.Invalid(p.Child("except").Index(i), s, "must be a range of addresses within "+b.CIDR))
		}
	}
	return errs
}

func selector(p *field.Path, s *metav1.LabelSelector) field.ErrorList {
	if s == nil {
		return nil
	}
	return metav1validation.ValidateLabelSelector(s, metav1validation.LabelSelectorValidationOptions{}, p)
}

func validateAffinity(p *field.Path, a *corev1.Affinity) field.ErrorList {
	if a == nil {
		return nil
	}
	var errs field.ErrorList
	if n := a.NodeAffinity; n != nil {
		p := p.Child("nodeAffinity")
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			p := p.Child("requiredDuringSchedulingIgnoredDuringExecution")
			if len(r.NodeSelectorTerms) == 0 {
				errs = append(errs, field.Required(p.Child("nodeSelectorTerms"), "must have at least one term"))
			}
			_, err := nodeaffinity.NewNodeSelector(r, field.WithPath(p))
			errs = append(errs, parseErrors(p, err)...)
			for i, t := range r.NodeSelectorTerms {
				errs = append(errs, nodeFields(p.Child("nodeSelectorTerms").Index(i), t)...)
			}
		}
		p = p.Child("preferredDuringSchedulingIgnoredDuringExecution")
		_, err := nodeaffinity.NewPreferredSchedulingTerms(n.PreferredDuringSchedulingIgnoredDuringExecution, field.WithPath(p))
		errs = append(errs, parseErrors(p, err)...)
		for i, t := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			errs = append(errs, weight(p.Index(i), t.Weight)...)
			errs = append(errs, nodeFields(p.Index(i).Child("preference"), t.Preference)...)
		}
	}
	if n := a.PodAffinity; n != nil {
		errs = append(errs, podTerms(p.Child("podAffinity"), n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	if n := a.PodAntiAffinity; n != nil {
		errs = append(errs, podTerms(p.Child("podAntiAffinity"), n.RequiredDuringSchedulingIgnoredDuringExecution, n.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	return errs
}

// parseErrors of the scheduler's own parser, each with the path that it knows.
func parseErrors(p *field.Path, err error) field.ErrorList {
	if err == nil {
		return nil
	}
	all := []error{err}
	if many := utilerrors.Aggregate(nil); errors.As(err, &many) {
		all = many.Errors()
	}
	var errs field.ErrorList
	for _, err := range all {
		one := &field.Error{}
		if !errors.As(err, &one) {
			one = field.Invalid(p, "", err.Error())
		}
		errs = append(errs, one)
	}
	return errs
}

// nodeFields that can be selected by: only the name, which the parser does not
// check.
func nodeFields(p *field.Path, t corev1.NodeSelectorTerm) field.ErrorList {
	var errs field.ErrorList
	for i, f := range t.MatchFields {
		if f.Key != metav1.ObjectNameField {
			errs = append(errs, field.NotSupported(p.Child("matchFields").Index(i).Child("key"), f.Key, []string{metav1.ObjectNameField}))
		}
	}
	return errs
}

func podTerms(p *field.Path, required []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) field.ErrorList {
	var errs field.ErrorList
	for i, t := range required {
		errs = append(errs, podTerm(p.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i), t)...)
	}
	for i, t := range preferred {
		p := p.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i)
		errs = append(errs, weight(p, t.Weight)...)
		errs = append(errs, podTerm(p.Child("podAffinityTerm"), t.PodAffinityTerm)...)
	}
	return errs
}

func podTerm(p *field.Path, t corev1.PodAffinityTerm) field.ErrorList {
	errs := selector(p.Child("labelSelector"), t.LabelSelector)
	errs = append(errs, selector(p.Child("namespaceSelector"), t.NamespaceSelector)...)
	for i, ns := range t.Namespaces {
		for _, msg := range validation.IsDNS1123Label(ns) {
			errs = append(errs, field.Invalid(p.Child("namespaces").Index(i), ns, msg))
		}
	}
	errs = append(errs, labelKeys(p.Child("matchLabelKeys"), t.MatchLabelKeys, t.LabelSelector)...)
	errs = append(errs, labelKeys(p.Child("mismatchLabelKeys"), t.MismatchLabelKeys, t.LabelSelector)...)
	if t.TopologyKey == "" {
		return append(errs, field.Required(p.Child("topologyKey"), "must be a label of nodes, such as kubernetes.io/hostname"))
	}
	return append(errs, metav1validation.ValidateLabelName(t.TopologyKey, p.Child("topologyKey"))...)
}

// labelKeys narrow a selector down, so that there must be one.
func labelKeys(p *field.Path, keys []string, s *metav1.LabelSelector) field.ErrorList {
	if len(keys) > 0 && s == nil {
		return field.ErrorList{field.Forbidden(p, "must not be set without a labelSelector")}
	}
	var errs field.ErrorList
	for i, k := range keys {
		errs = append(errs, metav1validation.ValidateLabelName(k, p.Index(i))...)
	}
	return errs
}

func weight(p *field.Path, w int32) field.ErrorList {
	if w < 1 || w > 100 {
		return field.ErrorList{field.Invalid(p.Child("weight"), w, "must be 1 to 100")}
	}
	return nil
}
