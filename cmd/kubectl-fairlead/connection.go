package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/internal/tool/survey"
)

// connection is how a command reaches the cluster. It only reads: the transport refuses to write.
type connection struct {
	// kube are the flags that kubectl has for a connection.
	kube *genericclioptions.ConfigFlags
	// namespace is --namespace, system is --system-namespace. about is set if the former is that of the user's objects; else it names the
	// installation, too.
	namespace, system, about string
	timeout                  time.Duration
	// spare are the kinds of details that the command does without.
	spare []string

	rest         *rest.Config
	client       client.Client
	current      string // the namespace of the user's objects: --namespace, or that of the kubeconfig's context
	installation string // found, or named
	clock        clock
	budget       budget
}

// What there is to spare: all that tells of each Service, or only what speakers tell of it.
var (
	details = []string{survey.EndpointSlices, survey.ServiceL2Statuses, survey.ServiceBGPStatuses}
	told    = details[1:]
)

// What --namespace can be about beside the installation.
const (
	oneService = "the Service"
	objects    = "objects without one"
)

// addClusterFlags adds the flags that say which cluster is meant, and as whom it is asked; they are kubectl's, but for those that the command
// has another meaning for.
func (c *connection) addClusterFlags(cmd *cobra.Command) {
	c.kube = genericclioptions.NewConfigFlags(false)
	c.kube.Namespace, c.kube.Timeout, c.kube.CacheDir, c.kube.DisableCompression = nil, nil, nil, nil
	f := cmd.Flags()
	if f.Lookup("cluster") != nil {
		c.kube.ClusterName = nil
	}
	c.kube.AddFlags(f)
	f.Lookup("kubeconfig").Usage = "path of a kubeconfig; default: $KUBECONFIG, then ~/.kube/config"
	f.Lookup("context").Usage = "context of the kubeconfig; default: the current one"
	complete(cmd, "context", c.named(contextsOf))
	complete(cmd, "user", c.named(usersOf))
	if c.kube.ClusterName != nil {
		complete(cmd, "cluster", c.named(clustersOf))
	}
}

func (c *connection) addFlags(cmd *cobra.Command) {
	c.addClusterFlags(cmd)
	f := cmd.Flags()
	of := "the same as --system-namespace"
	if c.about != "" {
		of = "namespace of " + c.about + "; default: that of the kubeconfig's context"
	}
	f.StringVarP(&c.namespace, "namespace", "n", "", of)
	f.StringVar(&c.system, "system-namespace", "",
		"namespace of the installation; default: the one that has IPAddressPools, else "+survey.DefaultNamespace)
	f.DurationVar(&c.timeout, "request-timeout", 30*time.Second, "how long to wait for the API server in all; 0 is for ever")
	complete(cmd, "namespace", c.completeNamespaces)
	complete(cmd, "system-namespace", c.completeNamespaces)
}

func (c *connection) config() clientcmd.ClientConfig { return c.kube.ToRawKubeConfigLoader() }

// reach returns how to reach the API server; it contacts nobody yet. Only open makes it a connection that does not write.
func (c *connection) reach() (*rest.Config, error) {
	rc, err := c.config().ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	if raw, err := c.config().RawConfig(); err == nil && api.IsConfigEmpty(&raw) && rc.Host == clientcmd.ClusterDefaults.Server {
		return nil, errors.New("connect to the API server: there is no kubeconfig; name one by --kubeconfig or $KUBECONFIG, or the API server by --server")
	}
	rc.QPS, rc.WarningHandler = -1, rest.NoWarnings{}
	rc.Wrap(func(next http.RoundTripper) http.RoundTripper { return impersonating{next} })
	return rc, nil
}

// open connects; it contacts nobody yet.
func (c *connection) open() error {
	if c.client != nil {
		return nil // it is open
	}
	rc, err := c.reach()
	if err != nil {
		return err
	}
	if c.current, _, err = c.config().Namespace(); err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	if c.about != "" && c.namespace != "" {
		c.current = c.namespace
	}
	rc.Wrap(func(next http.RoundTripper) http.RoundTripper { return metered{readOnly{next, &c.clock}, &c.budget} })
	c.rest = rc
	if c.client, err = client.New(rc, client.Options{Scheme: survey.NewScheme()}); err != nil {
		return fmt.Errorf("connect to the API server: %w", err)
	}
	return nil
}

// fresh is where an installation will be if there is none yet: where the configuration goes that is about to be made; else empty.
func (c *connection) fresh() string {
	if c.about == objects {
		return c.namespace
	}
	return ""
}

// find connects, and finds the installation unless its namespace is given.
func (c *connection) find(ctx context.Context) (err error) {
	if err := c.open(); err != nil {
		return err
	}
	switch {
	case c.system != "" && c.namespace != "" && c.about == "" && c.system != c.namespace:
		return fmt.Errorf("--namespace %s and --system-namespace %s are not the same: leave one of them out", c.namespace, c.system)
	case c.system != "":
		c.installation = c.system
	case c.namespace != "" && c.about == "":
		c.installation = c.namespace
	default:
		c.installation, err = survey.FindNamespace(ctx, c.client, c.namespace, cmp.Or(c.fresh(), survey.DefaultNamespace))
	}
	return err
}

// survey reads the cluster.
func (c *connection) survey(ctx context.Context) (*survey.Survey, error) {
	if err := c.find(ctx); err != nil {
		return nil, err
	}
	s, err := survey.Read(ctx, c.client, c.installation, c.spare...)
	if err == nil && !c.clock.now().IsZero() {
		s.At = c.clock.now()
	}
	if err == nil {
		err = s.Installed()
	}
	return s, err
}

// model reads the cluster and models what the controller makes of it.
func (c *connection) model(ctx context.Context) (*survey.Model, error) {
	s, err := c.survey(ctx)
	if err != nil {
		return nil, err
	}
	return s.Model()
}

// readOnly lets through what changes nothing: reads, questions about permissions, and dry runs.
type readOnly struct {
	next  http.RoundTripper
	clock *clock
}

// clock is the time of the API server: whether a Lease has run out is not to depend on the clock of this machine.
type clock struct {
	mu   sync.Mutex // protects all the following
	last time.Time
	here time.Time // when last was heard
}

func (c *clock) set(date string) {
	if t, err := http.ParseTime(date); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last, c.here = t, time.Now()
	}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// running is the time of the API server now, as far as it is known.
func (c *clock) running() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last.IsZero() {
		return time.Now()
	}
	return c.last.Add(time.Since(c.here))
}

// RoundTrip refuses requests that would write.
func (r readOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	question := req.Method == http.MethodPost && strings.HasPrefix(req.URL.Path, "/apis/authorization.k8s.io/")
	dry := req.URL.Query().Get("dryRun") == "All"
	if req.Method != http.MethodGet && req.Method != http.MethodHead && !question && !dry {
		return nil, fmt.Errorf("%s %s: this command only reads", req.Method, req.URL.Path)
	}
	resp, err := r.next.RoundTrip(req)
	if err == nil {
		r.clock.set(resp.Header.Get("Date"))
	}
	return resp, err
}

// run is a command's function with flags that are checked. The timeout is for what the API server takes, not for what the command does.
func (c *connection) run(
	o *output, do func(ctx context.Context, cmd *cobra.Command, args []string) error,
) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if err := o.check(); err != nil {
			return err
		}
		c.budget.set(c.timeout)
		return do(cmd.Context(), cmd, args)
	}
}
