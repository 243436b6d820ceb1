package tools

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestRequiredVersion(t *testing.T) {
	const gomod = `module example.org/tools

go 1.26

require example.org/single v1.2.3

require (
	example.org/block v0.1.0
	example.org/block/v2 v2.0.0 // indirect
)

replace example.org/replaced => example.org/replaced v9.9.9
`
	cases := map[string]struct {
		reason string
		module string
		want   string
		err    error
	}{
		"Single": {
			reason: "A requirement on a line of its own should be found.",
			module: "example.org/single",
			want:   "v1.2.3",
		},
		"Block": {
			reason: "A requirement in a block should be found, and not be mistaken for one with a longer path.",
			module: "example.org/block",
			want:   "v0.1.0",
		},
		"Indirect": {
			reason: "An indirect requirement should be found.",
			module: "example.org/block/v2",
			want:   "v2.0.0",
		},
		"OnlyReplaced": {
			reason: "A replacement is not a requirement.",
			module: "example.org/replaced",
			err:    errNotRequired,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := requiredVersion([]byte(gomod), tc.module)
			if diff := cmp.Diff(tc.err, err, cmpopts.EquateErrors()); diff != "" {
				t.Errorf("\n%s\nrequiredVersion(...): -want error, +got error:\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nrequiredVersion(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestPath(t *testing.T) {
	seen := map[string]bool{}
	for _, tool := range All() {
		p, err := Path(tool.Name)
		if err != nil {
			t.Fatalf("Path(%q): %v", tool.Name, err)
		}
		v, err := tool.Version()
		if err != nil {
			t.Fatalf("Version() of %q: %v", tool.Name, err)
		}
		if base := filepath.Base(p); !strings.HasPrefix(base, tool.Name+"-"+v+"-") {
			t.Errorf("Path(%q): want a name of %s-%s-<hash>, got %s", tool.Name, tool.Name, v, base)
		}
		if seen[p] {
			t.Errorf("Path(%q): two tools have the path %s", tool.Name, p)
		}
		seen[p] = true
	}
}

func TestGet(t *testing.T) {
	if _, err := Get("no-such-tool"); err == nil || !strings.Contains(err.Error(), Etcd) {
		t.Errorf("Get(...): want an error that names the tools there are, got %v", err)
	}
}
