package controlplane

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExporter(t *testing.T) {
	e := newExporter("127.0.0.1:9", func(context.Context) ([]servicePod, error) {
		return []servicePod{{namespace: "team-a", service: "chat", pod: "chat-1", port: "http", address: "10.0.0.1:8000"}}, nil
	})
	e.setEngine("team-a", "chat", []Sample{
		{Name: "vllm:kv_cache_usage_perc", Labels: map[string]string{"model_name": `a "b"`, "engine": "0"}, Value: 0.25},
		{Name: "up"},
	})
	e.setEngine("team-a", "gone", nil)
	e.setGPUs(true, []Sample{{Name: "gpu_gfx_activity", Labels: map[string]string{"pod": ""}, Value: 100}})

	type want struct {
		code int
		body string
	}
	cases := map[string]struct {
		reason string
		path   string
		want   want
	}{
		"Engine": {
			reason: "A pod should report what its Service was given, in the text format of Prometheus.",
			path:   "/engines/team-a/chat/chat-1/metrics",
			want:   want{code: http.StatusOK, body: "vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"a \\\"b\\\"\"} 0.25\nup{} 0\n"},
		},
		"Gone": {
			reason: "A pod without samples should not answer as if all was well.",
			path:   "/engines/team-a/gone/gone-1/metrics",
			want:   want{code: http.StatusServiceUnavailable, body: "this engine doesn't answer\n"},
		},
		"OtherNamespace": {
			reason: "The same name in another namespace is another Service.",
			path:   "/engines/team-b/chat/chat-1/metrics",
			want:   want{code: http.StatusServiceUnavailable, body: "this engine doesn't answer\n"},
		},
		"GPUs": {
			reason: "An exporter should report what it was given.",
			path:   "/gpus/honored",
			want:   want{code: http.StatusOK, body: "gpu_gfx_activity{pod=\"\"} 100\n"},
		},
		"OtherGPUs": {
			reason: "The other exporter should not report the same.",
			path:   "/gpus/renamed",
			want:   want{code: http.StatusOK},
		},
		"Targets": {
			reason: "Prometheus should be told of each pod, with the labels that a ServiceMonitor gives it.",
			path:   "/targets",
			want: want{code: http.StatusOK, body: `[{"targets":["127.0.0.1:9"],"labels":{"__metrics_path__":"/engines/team-a/chat/chat-1/metrics",` +
				`"endpoint":"http","instance":"10.0.0.1:8000","namespace":"team-a","pod":"chat-1","service":"chat"}}]`},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := want{}
			got.code, got.body = ask(t, e, tc.path)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nGET %s: -want, +got:\n%s", tc.reason, tc.path, diff)
			}
		})
	}

	t.Run("NoPods", func(t *testing.T) {
		e := newExporter("127.0.0.1:9", func(context.Context) ([]servicePod, error) { return nil, errors.New("boom") })
		if code, body := ask(t, e, "/targets"); code != http.StatusInternalServerError || body != "boom\n" {
			t.Errorf("\nPrometheus should keep its targets when there's an error.\nGET /targets: got %d %q", code, body)
		}
	})
}

func ask(t *testing.T, e *exporter, path string) (code int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	e.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(b)
}
