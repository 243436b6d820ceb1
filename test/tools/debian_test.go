package tools

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrometheus(t *testing.T) {
	const (
		aptGet  = "#!/bin/sh\nfor last; do :; done\n[ \"$last\" = update ] || : > prometheus_2.42.0_amd64.deb\n"
		dpkgDeb = "#!/bin/sh\n/bin/mkdir -p \"$3/usr/bin\"\nprintf '#!/bin/sh\\n%s\\n' > \"$3/usr/bin/prometheus\"\n/bin/chmod +x \"$3/usr/bin/prometheus\"\n"
	)
	runs := strings.Replace(dpkgDeb, "%s", "exit 0", 1)
	cases := map[string]struct {
		reason   string
		programs map[string]string
		cached   bool
		want     string
		err      error
		says     string
	}{
		"OnPath": {
			reason:   "What is installed should be used, even if there's another in the cache.",
			programs: map[string]string{"prometheus": "#!/bin/sh\n"},
			cached:   true,
			want:     "bin/prometheus",
		},
		"Cached": {
			reason: "What was unpacked before should be used, without a package manager.",
			cached: true,
			want:   ".cache/debian/prometheus/usr/bin/prometheus",
		},
		"NotDebian": {
			reason:   "Without a package manager that we know it's for the user to install it.",
			programs: map[string]string{"dpkg-deb": runs},
			err:      ErrNoPrometheus,
		},
		"Download": {
			reason:   "The package should be downloaded and unpacked.",
			programs: map[string]string{"apt-get": aptGet, "dpkg-deb": runs},
			want:     ".cache/debian/prometheus/usr/bin/prometheus",
		},
		"NoNetwork": {
			reason:   "What apt-get says should be told, and is no reason to skip a test.",
			programs: map[string]string{"apt-get": "#!/bin/sh\necho 'Could not resolve host'\nexit 100\n", "dpkg-deb": runs},
			says:     "Could not resolve host",
		},
		"MissingLibrary": {
			reason:   "A program that lacks a library should not be taken for one that works.",
			programs: map[string]string{"apt-get": aptGet, "dpkg-deb": strings.Replace(dpkgDeb, "%s", "echo libfoo.so.1: cannot open shared object file; exit 127", 1)},
			says:     "libfoo.so.1: cannot open shared object file",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write := func(path, content string) {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			write("go.mod", "module "+rootModule+"\n")
			for p, content := range tc.programs {
				write("bin/"+p, content)
			}
			if tc.cached {
				write(".cache/debian/prometheus/usr/bin/prometheus", "")
			}
			t.Chdir(root)
			t.Setenv("PATH", filepath.Join(root, "bin"))

			got, err := Prometheus(t.Context(), nil)
			if tc.says == "" && !errors.Is(err, tc.err) || tc.says != "" && (err == nil || !strings.Contains(err.Error(), tc.says)) {
				t.Fatalf("\n%s\nPrometheus(...): want error %v %s, got %v", tc.reason, tc.err, tc.says, err)
			}
			if err != nil {
				if there, _ := exists(filepath.Join(root, ".cache/debian/prometheus")); there {
					t.Errorf("\n%s\nPrometheus(...): left something behind in the cache", tc.reason)
				}
				return
			}
			if diff := cmp.Diff(filepath.Join(root, tc.want), got); diff != "" {
				t.Errorf("\n%s\nPrometheus(...): -want, +got:\n%s", tc.reason, diff)
			}
			if there, err := exists(got); err != nil || !there {
				t.Errorf("\n%s\nPrometheus(...): there's nothing at %s: %v", tc.reason, got, err)
			}
		})
	}
}
