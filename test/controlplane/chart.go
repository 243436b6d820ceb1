package controlplane

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// chartTemplates are the parts of Crossplane's Helm chart that a plane uses:
// what it may do, and as whom. What runs it is left out.
func chartTemplates() []string {
	return []string{
		"serviceaccount.yaml",
		"secret.yaml",
		"clusterrole.yaml",
		"clusterrolebinding.yaml",
		"rbac-manager-serviceaccount.yaml",
		"rbac-manager-allowed-provider-permissions.yaml",
		"rbac-manager-managed-clusterroles.yaml",
		"rbac-manager-clusterrole.yaml",
		"rbac-manager-clusterrolebinding.yaml",
	}
}

// renderChart renders templates of a Helm chart with its default values. It
// knows just enough of Helm for Crossplane's.
func renderChart(dir, namespace string, names ...string) ([]*unstructured.Unstructured, error) {
	values, chart := map[string]any{}, map[string]any{}
	for file, into := range map[string]*map[string]any{"values.yaml": &values, "Chart.yaml": &chart} {
		b, err := os.ReadFile(filepath.Join(dir, file)) //nolint:gosec // The path is that of a pinned module.
		if err != nil {
			return nil, fmt.Errorf("cannot read chart: %w", err)
		}
		if err := yaml.Unmarshal(b, into); err != nil {
			return nil, fmt.Errorf("cannot parse %s of chart: %w", file, err)
		}
	}
	data := map[string]any{
		"Values":  values,
		"Chart":   map[string]any{"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
		"Release": map[string]any{"Name": chart["name"], "Namespace": namespace, "Service": "Helm"},
	}

	t := template.New("chart").Option("missingkey=zero")
	t.Funcs(chartFuncs(t))
	files := []string{filepath.Join(dir, "templates", "_helpers.tpl")}
	for _, n := range names {
		files = append(files, filepath.Join(dir, "templates", n))
	}
	if _, err := t.ParseFiles(files...); err != nil {
		return nil, fmt.Errorf("cannot parse chart: %w", err)
	}
	out := make([]*unstructured.Unstructured, 0)
	for _, n := range names {
		b := &bytes.Buffer{}
		if err := t.ExecuteTemplate(b, n, data); err != nil {
			return nil, fmt.Errorf("cannot render %s of chart: %w", n, err)
		}
		objs, err := decode(b.Bytes())
		if err != nil {
			return nil, fmt.Errorf("%s of chart: %w", n, err)
		}
		out = append(out, objs...)
	}
	return out, nil
}

// chartFuncs are the functions of Helm that Crossplane's chart calls.
func chartFuncs(t *template.Template) template.FuncMap {
	indent := func(n int, s string) string {
		return strings.Repeat(" ", n) + strings.ReplaceAll(s, "\n", "\n"+strings.Repeat(" ", n))
	}
	return template.FuncMap{
		"include": func(name string, data any) (string, error) {
			b := &bytes.Buffer{}
			err := t.ExecuteTemplate(b, name, data)
			return b.String(), err
		},
		"default": func(def, v any) any {
			if v == nil || v == "" {
				return def
			}
			return v
		},
		"toYaml": func(v any) (string, error) {
			b, err := yaml.Marshal(v)
			return strings.TrimSuffix(string(b), "\n"), err
		},
		"indent":     indent,
		"nindent":    func(n int, s string) string { return "\n" + indent(n, s) },
		"quote":      func(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) },
		"replace":    func(old, with, s string) string { return strings.ReplaceAll(s, old, with) },
		"trimSuffix": func(suffix, s string) string { return strings.TrimSuffix(s, suffix) },
		"trunc": func(n int, s string) string {
			return s[:min(n, len(s))]
		},
	}
}
