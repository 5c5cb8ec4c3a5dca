// Package scrape serves the metrics of a command: to everybody by plain HTTP, or by HTTPS to those who may read them.
package scrape

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Options are the flags about metrics.
type Options struct {
	BindAddress   string
	Secure        bool
	CertDir       string
	MinTLSVersion string
	CipherSuites  []string
	Curves        []uint
}

// Kubernetes' names of the versions of TLS.
const (
	tls12 = "VersionTLS12"
	tls13 = "VersionTLS13"
)

// AddFlags adds the flags.
func (o *Options) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&o.BindAddress, "metrics-bind-address", "0", "address:port for Prometheus metrics; 0 turns them off")
	f.BoolVar(&o.Secure, "metrics-secure", false,
		"serve metrics by HTTPS, and only to those whose token may get /metrics, which the API server is asked")
	f.StringVar(&o.CertDir, "metrics-cert-dir", "",
		"folder with tls.crt and tls.key for --metrics-secure; default: a certificate that the process makes and signs itself")
	f.StringSliceVar(&o.CipherSuites, "metrics-tls-cipher-suites", nil,
		"cipher suites for --metrics-secure by TLS 1.2, such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; default: Go's")
	f.UintSliceVar(&o.Curves, "metrics-tls-curve-preferences", nil,
		"key exchanges for --metrics-secure, by the numbers of crypto/tls.CurveID, such as 29,4588; default: Go's")
	f.StringVar(&o.MinTLSVersion, "metrics-tls-min-version", tls13, "the oldest TLS that --metrics-secure takes: "+tls12+" or "+tls13)
}

// suites returns the cipher suites by their names, but those that are known to be weak.
func suites() map[string]uint16 {
	out := map[string]uint16{}
	for _, s := range tls.CipherSuites() {
		out[s.Name] = s.ID
	}
	return out
}

// Validate checks what was given.
func (o *Options) Validate() error {
	var errs []error
	if o.MinTLSVersion != tls12 && o.MinTLSVersion != tls13 {
		errs = append(errs, fmt.Errorf("--metrics-tls-min-version: %q is neither %s nor %s", o.MinTLSVersion, tls12, tls13))
	}
	known := suites()
	for _, name := range o.CipherSuites {
		if known[name] == 0 {
			errs = append(errs, fmt.Errorf("--metrics-tls-cipher-suites: %q is none of %s", name,
				strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
		}
	}
	for _, c := range o.Curves {
		if c == 0 || c > math.MaxUint16 {
			errs = append(errs, fmt.Errorf("--metrics-tls-curve-preferences: %d is not a number of a key exchange", c))
		}
	}
	if o.CertDir != "" && !o.Secure {
		errs = append(errs, errors.New("--metrics-cert-dir has no effect without --metrics-secure"))
	}
	return errors.Join(errs...)
}

// Server returns how a manager is to serve metrics.
func (o *Options) Server(log *slog.Logger) metricsserver.Options {
	s := metricsserver.Options{BindAddress: cmp.Or(o.BindAddress, "0")}
	if !o.Secure {
		return s
	}
	s.SecureServing, s.CertDir = true, o.CertDir
	s.FilterProvider = func(rc *rest.Config, c *http.Client) (metricsserver.Filter, error) { return newFilter(rc, c, log) }
	s.TLSOpts = []func(*tls.Config){func(c *tls.Config) {
		c.MinVersion = tls.VersionTLS13
		if o.MinTLSVersion == tls12 {
			c.MinVersion = tls.VersionTLS12
		}
		for _, name := range o.CipherSuites {
			c.CipherSuites = append(c.CipherSuites, suites()[name])
		}
		for _, n := range o.Curves {
			c.CurvePreferences = append(c.CurvePreferences, tls.CurveID(n)) //nolint:gosec // see Validate
		}
	}}
	return s
}
