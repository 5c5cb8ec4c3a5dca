package admission

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/fairlead/fairlead/internal/config"
)

// paths are MetalLB's, so that its ValidatingWebhookConfiguration works unchanged. All lead to the same validator.
var paths = []string{
	"/validate-metallb-io-v1beta1-ipaddresspool", "/validate-metallb-io-v1beta1-bgpadvertisement",
	"/validate-metallb-io-v1beta1-l2advertisement", "/validate-metallb-io-v1beta1-community",
	"/validate-metallb-io-v1beta1-bfdprofile", "/validate-metallb-io-v1beta1-bgppeer", "/validate-metallb-io-v1beta2-bgppeer",
	"/validate-fairlead-io-v1alpha1-addressreservation",
}

// Options are what a Server needs.
type Options struct {
	Manager   manager.Manager
	Namespace string
	Port      int
	// Service is the name of the Service in Namespace by which the API server finds the webhook.
	Service string
	Log     *slog.Logger
}

// Server serves the webhook, on every replica: it does not wait for the Lease. What goes wrong with it is logged and tried
// again; it never ends the process.
type Server struct {
	options     Options
	certificate *certificate
}

// New returns a Server; it starts nothing. Add it to the manager.
func New(o Options) *Server {
	return &Server{
		options:     o,
		certificate: newCertificate(o.Manager.GetAPIReader(), o.Manager.GetClient(), o.Namespace, o.Service, o.Log),
	}
}

// NeedLeaderElection is part of manager.LeaderElectionRunnable.
func (*Server) NeedLeaderElection() bool { return false }

// Start serves until ctx ends. It is called when the caches run.
func (s *Server) Start(ctx context.Context) error {
	// The first look starts the watches, so that no request waits for them.
	if _, err := config.List(ctx, s.options.Manager.GetCache(), s.options.Namespace); err != nil && ctx.Err() == nil {
		s.options.Log.Warn("webhook cache", "err", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.certificate.run(ctx) })
	for ctx.Err() == nil {
		if err := s.server().Start(ctx); err != nil && ctx.Err() == nil {
			s.options.Log.Error("webhook", "port", s.options.Port, "err", err)
		}
		sleep(ctx, retryAfter)
	}
	return nil
}

func (s *Server) server() webhook.Server {
	server := webhook.NewServer(webhook.Options{
		Port:    s.options.Port,
		TLSOpts: []func(*tls.Config){func(c *tls.Config) { c.MinVersion, c.GetCertificate = tls.VersionTLS12, s.certificate.serve }},
	})
	v := &validator{cache: s.options.Manager.GetCache(), namespace: s.options.Namespace, log: s.options.Log}
	for _, p := range paths {
		server.Register(p, &admission.Webhook{Handler: v})
	}
	return server
}
