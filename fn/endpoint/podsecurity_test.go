package endpoint

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// The checks of Kubernetes' Pod Security Standards, as far as a Linux pod can
// break them. k8s.io/pod-security-admission, which has them, is not among the
// modules of this program; the end-to-end tests ask the API server itself.

// breaksBaseline says how a pod breaks the baseline.
func breaksBaseline(p corev1.PodTemplateSpec) []string {
	var out []string
	s := p.Spec
	if s.HostNetwork || s.HostPID || s.HostIPC {
		out = append(out, "host namespaces")
	}
	if ptr.Deref(s.HostUsers, true) != true {
		out = append(out, "host users")
	}
	for _, v := range s.Volumes {
		if v.HostPath != nil {
			out = append(out, "hostPath volume "+v.Name)
		}
	}
	if c := s.SecurityContext; c != nil {
		if c.SELinuxOptions != nil || len(c.Sysctls) > 0 || c.WindowsOptions != nil || (c.AppArmorProfile != nil && c.AppArmorProfile.Type == corev1.AppArmorProfileTypeUnconfined) {
			out = append(out, "security options of the pod")
		}
		if c.SeccompProfile != nil && c.SeccompProfile.Type == corev1.SeccompProfileTypeUnconfined {
			out = append(out, "seccomp of the pod")
		}
	}
	for _, c := range slices.Concat(s.InitContainers, s.Containers) {
		for _, port := range c.Ports {
			if port.HostPort != 0 {
				out = append(out, "hostPort of "+c.Name)
			}
		}
		for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			if p != nil && ((p.HTTPGet != nil && p.HTTPGet.Host != "") || (p.TCPSocket != nil && p.TCPSocket.Host != "")) {
				out = append(out, "host of a probe of "+c.Name)
			}
		}
		sc := c.SecurityContext
		if sc == nil {
			continue
		}
		if ptr.Deref(sc.Privileged, false) {
			out = append(out, "privileged "+c.Name)
		}
		if sc.Capabilities != nil {
			allowed := []corev1.Capability{
				"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
			}
			for _, a := range sc.Capabilities.Add {
				if !slices.Contains(allowed, a) {
					out = append(out, fmt.Sprintf("capability %s of %s", a, c.Name))
				}
			}
		}
		if sc.ProcMount != nil && *sc.ProcMount != corev1.DefaultProcMount {
			out = append(out, "procMount of "+c.Name)
		}
		if sc.SELinuxOptions != nil || sc.WindowsOptions != nil || (sc.SeccompProfile != nil && sc.SeccompProfile.Type == corev1.SeccompProfileTypeUnconfined) {
			out = append(out, "security options of "+c.Name)
		}
	}
	return out
}

// breaksRestricted says how a pod breaks the restricted standard.
func breaksRestricted(p corev1.PodTemplateSpec) []string {
	out := breaksBaseline(p)
	for _, v := range p.Spec.Volumes {
		if v.ConfigMap == nil && v.CSI == nil && v.DownwardAPI == nil && v.EmptyDir == nil && v.Ephemeral == nil && v.PersistentVolumeClaim == nil && v.Projected == nil && v.Secret == nil {
			out = append(out, "kind of volume "+v.Name)
		}
	}
	pod := ptr.Deref(p.Spec.SecurityContext, corev1.PodSecurityContext{})
	if ptr.Deref(pod.RunAsUser, 1) == 0 {
		out = append(out, "runAsUser of the pod")
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		sc := ptr.Deref(c.SecurityContext, corev1.SecurityContext{})
		if ptr.Deref(sc.AllowPrivilegeEscalation, true) {
			out = append(out, "allowPrivilegeEscalation of "+c.Name)
		}
		if !ptr.Deref(sc.RunAsNonRoot, ptr.Deref(pod.RunAsNonRoot, false)) {
			out = append(out, "runAsNonRoot of "+c.Name)
		}
		if ptr.Deref(sc.RunAsUser, 1) == 0 {
			out = append(out, "runAsUser of "+c.Name)
		}
		profile := sc.SeccompProfile
		if profile == nil {
			profile = pod.SeccompProfile
		}
		if profile == nil || profile.Type == corev1.SeccompProfileTypeUnconfined {
			out = append(out, "seccomp of "+c.Name)
		}
		caps := ptr.Deref(sc.Capabilities, corev1.Capabilities{})
		if !slices.Contains(caps.Drop, "ALL") || slices.ContainsFunc(caps.Add, func(a corev1.Capability) bool { return a != "NET_BIND_SERVICE" }) {
			out = append(out, "capabilities of "+c.Name)
		}
	}
	return out
}

func TestPodSecurity(t *testing.T) {
	type want struct {
		Baseline, Restricted []string
	}
	rooted := want{Restricted: []string{"runAsNonRoot of server"}}
	cases := map[string]struct {
		reason string
		spec   string
		change func(p *corev1.PodTemplateSpec)
		want   want
	}{
		"Default": {
			reason: "The images run as root: the baseline should admit them, and nothing but that should be between them and restricted.",
			want:   rooted,
		},
		"Cache": {
			reason: "A cache should break nothing.",
			spec:   `cache: {enabled: true}`,
			want:   rooted,
		},
		"NonRoot": {
			reason: "Restricted should admit a server with a user.",
			spec:   `{security: {podSecurityContext: {runAsUser: 1000}, supplementalGroups: [44, 109]}, cache: {enabled: true}}`,
		},
		"ExplicitRoot": {
			reason: "Root by choice is root.",
			spec:   `security: {podSecurityContext: {runAsUser: 0}}`,
			want:   want{Restricted: []string{"runAsUser of the pod", "runAsNonRoot of server"}},
		},
		"CheckFails": {
			reason: "The checks themselves should find what is wrong.",
			change: func(p *corev1.PodTemplateSpec) {
				p.Spec.HostIPC = true
				p.Spec.SecurityContext = nil
				p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "dri", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}})
				p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: ptr.To(true), Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_PTRACE"}}}
			},
			want: want{
				Baseline: []string{"host namespaces", "hostPath volume dri", "privileged server", "capability SYS_PTRACE of server"},
				Restricted: []string{
					"host namespaces", "hostPath volume dri", "privileged server", "capability SYS_PTRACE of server",
					"kind of volume dri", "allowPrivilegeEscalation of server", "runAsNonRoot of server", "seccomp of server", "capabilities of server",
				},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := podOf(t, chat(t, tc.spec, onGPUs(8)), Live{})
			if tc.change != nil {
				tc.change(&p)
			}
			if diff := cmp.Diff(tc.want, want{Baseline: breaksBaseline(p), Restricted: breaksRestricted(p)}); diff != "" {
				t.Errorf("\n%s\nRender(...): what the pod breaks: -want, +got:\n%s", tc.reason, diff)
			}
			if tc.change == nil && (ptr.Deref(p.Spec.AutomountServiceAccountToken, true) || ptr.Deref(p.Spec.EnableServiceLinks, true)) {
				t.Errorf("\nA server has no business with the API server, nor with other Services' variables.\nRender(...): got %v and %v", p.Spec.AutomountServiceAccountToken, p.Spec.EnableServiceLinks)
			}
		})
	}
}
