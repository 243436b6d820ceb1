package main

import (
	"context"
	"testing"

	"github.com/crossplane/function-sdk-go/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"
)

// BenchmarkRunFunction measures what Crossplane waits for, the time on the wire
// excepted. The requests are copied outside of what is measured, since the
// response takes over what is desired.
func BenchmarkRunFunction(b *testing.B) {
	all := corpus(b)
	for _, name := range []string{"Unanswered", "Fresh", "FreshAll", "Running", "RunningAll", "Everything", "Degraded", "ModelUnknown"} {
		b.Run(name, func(b *testing.B) {
			f := &Function{log: logging.NewNopLogger()}
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				req := proto.Clone(all[name]).(*fnv1.RunFunctionRequest)
				b.StartTimer()
				if _, err := f.RunFunction(context.Background(), req); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(proto.Size(all[name])), "request-B")
		})
	}
}
