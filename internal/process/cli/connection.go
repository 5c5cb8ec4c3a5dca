package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	kubeconfig "sigs.k8s.io/controller-runtime/pkg/client/config"
)

// podNamespace is where a pod finds the namespace it runs in.
const podNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// AddConnectionFlags adds the flags that say where the installation is.
func AddConnectionFlags(f *pflag.FlagSet, path, namespace *string) {
	f.StringVar(path, "kubeconfig", "", "path of a kubeconfig; default: $KUBECONFIG, then the pod's service account")
	f.StringVar(namespace, "namespace", "", "namespace of the configuration objects; default: the pod's own")
}

// Namespace returns the namespace that was asked for, or that of the pod.
func Namespace(asked string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	b, err := os.ReadFile(podNamespace)
	if err != nil {
		return "", errors.New("--namespace is needed outside a pod: name the namespace of the IPAddressPools, such as metallb-system")
	}
	return strings.TrimSpace(string(b)), nil
}

// RESTConfig returns how to reach the API server; an empty path stands for $KUBECONFIG, then for the pod's service account.
func RESTConfig(path string) (*rest.Config, error) {
	var rc *rest.Config
	var err error
	if path != "" {
		rc, err = clientcmd.BuildConfigFromFlags("", path)
	} else {
		rc, err = kubeconfig.GetConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("connect to the API server: %w", err)
	}
	// The API server's own fairness limits us; a limit here would only make Services wait.
	rc.QPS = -1
	return rc, nil
}

// SetUp returns an error of setting up what talks to the API server; of a kind that the API server does not have, with what helps.
func SetUp(err error) error {
	if err == nil {
		return nil
	}
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("set up: the CustomResourceDefinitions are missing, or are those of another version; have Helm install them (crds.enabled), or run"+
			" kubectl apply --server-side --force-conflicts -f api/crds: %w", err)
	}
	return fmt.Errorf("set up: %w", err)
}
