package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/aim-engine/function-aim/fn/engine"
)

func TestReplaceImage(t *testing.T) {
	const digest = "sha256:4b825dc642cb6eb9a060e54bf8d69288fbee4904b825dc642cb6eb9a060e54bf"
	cases := map[string]struct {
		reason          string
		image           string
		repository, tag string
		want            string
	}{
		"Nothing":           {"Without an override the image should stay.", "vllm/vllm:v1", "", "", "vllm/vllm:v1"},
		"Tag":               {"A tag should replace the tag.", "vllm/vllm:v1", "", "v2", "vllm/vllm:v2"},
		"Repository":        {"A mirror should have the same tags.", "vllm/vllm:v1", "registry.example.org/vllm", "", "registry.example.org/vllm:v1"},
		"Both":              {"Both should replace both.", "vllm/vllm:v1", "localhost:5000/vllm", "v2", "localhost:5000/vllm:v2"},
		"Port":              {"The port of a registry is no tag.", "localhost:5000/vllm", "", "v2", "localhost:5000/vllm:v2"},
		"PortAndRepository": {"The port of a registry is no tag.", "localhost:5000/vllm", "vllm/vllm", "", "vllm/vllm"},
		"NoTag":             {"An image may have neither tag nor registry.", "vllm", "", "v2", "vllm:v2"},
		"Digest":            {"A digest should stay without an override.", "vllm/vllm@" + digest, "", "", "vllm/vllm@" + digest},
		"DigestTag":         {"A tag should replace a digest.", "vllm/vllm@" + digest, "", "v2", "vllm/vllm:v2"},
		"DigestRepository":  {"A mirror should have the same digests.", "vllm/vllm@" + digest, "registry.example.org/vllm", "", "registry.example.org/vllm@" + digest},
		"TagAndDigestTag":   {"A tag should replace tag and digest.", "vllm/vllm:v1@" + digest, "", "v2", "vllm/vllm:v2"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, engine.ReplaceImage(tc.image, tc.repository, tc.tag)); diff != "" {
				t.Errorf("\n%s\nReplaceImage(%q, %q, %q): -want, +got:\n%s", tc.reason, tc.image, tc.repository, tc.tag, diff)
			}
		})
	}
}
