// Package main is function-aim: a Crossplane composition function that serves
// AI models on AMD GPUs, and a command that shows what it would do.
package main

import (
	"github.com/alecthomas/kong"
	"github.com/crossplane/function-sdk-go"
	"github.com/crossplane/function-sdk-go/errors"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
)

// version of this program, set by the linker.
var version = "dev"

// cli of this program.
type cli struct {
	Serve   serveCmd         `cmd:""                             default:"withargs"                                                                            help:"Serve the composition function (the default)."`
	Plan    planCmd          `cmd:""                             help:"Show what would be chosen and composed for the manifests in files."`
	Lint    lintCmd          `cmd:""                             help:"Check AIMRecipes and other manifests in files, and say what to do about what is found."`
	Cache   cacheCmd         `cmd:""                             help:"Fill, clean and measure a model cache: the agent of an AIMCache."`
	Catalog catalogCmd       `cmd:""                             help:"List the built-in recipes."`
	Version kong.VersionFlag `help:"Print the version and exit."`
}

// serveCmd serves the function.
type serveCmd struct {
	Debug bool `env:"DEBUG" help:"Emit debug logs in addition to info logs." short:"d"`

	Network            string `default:"tcp"           env:"NETWORK"                                                                                        help:"Network on which to listen for gRPC connections."`
	Address            string `default:":9443"         env:"ADDRESS"                                                                                        help:"Address at which to listen for gRPC connections."`
	TLSCertsDir        string `aliases:"tls-certs-dir" env:"TLS_SERVER_CERTS_DIR"                                                                           help:"Directory containing server certs (tls.key, tls.crt) and the CA used to verify client certificates (ca.crt)." name:"tls-server-certs-dir"`
	Insecure           bool   `env:"INSECURE"          help:"Run without mTLS credentials. If you supply this flag --tls-server-certs-dir will be ignored."`
	MaxRecvMessageSize int    `default:"32"            env:"MAX_RECV_MESSAGE_SIZE"                                                                          help:"Maximum size of received messages in MiB."`
	MetricsAddress     string `default:":8080"         env:"METRICS_ADDRESS"                                                                                help:"Address at which to serve Prometheus metrics at /metrics. Empty serves none."`
}

// Run the function.
func (c *serveCmd) Run() error {
	log, err := function.NewLogger(c.Debug)
	if err != nil {
		return errors.Wrap(err, "cannot create logger")
	}
	hs := health.NewServer()
	hs.SetServingStatus("", healthgrpc.HealthCheckResponse_SERVING)

	return function.Serve(&Function{log: log},
		function.Listen(c.Network, c.Address),
		function.MTLSCertificates(c.TLSCertsDir),
		function.Insecure(c.Insecure),
		function.MaxRecvMessageSize(c.MaxRecvMessageSize*1024*1024),
		function.WithHealthServer(hs),
		function.WithMetricsServer(c.MetricsAddress))
}

func main() {
	ctx := kong.Parse(&cli{},
		kong.Name("function-aim"),
		kong.Description("A Crossplane composition function that serves AI models on AMD GPUs."),
		kong.Vars{"version": version})
	ctx.FatalIfErrorf(ctx.Run())
}
