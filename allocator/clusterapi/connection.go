package clusterapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"github.com/fairlead/fairlead/allocator"
)

// connection is how the API server of the claims is reached.
type connection struct {
	namespace string // of the claims
	client    dynamic.Interface
	discovery discovery.CachedDiscoveryInterface
	mapper    meta.ResettableRESTMapper
}

func (p *Provider) dial() (*connection, error) {
	rc, err := p.Connect()
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(rc)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server of the claims: %w", err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(rc)
	if err != nil {
		return nil, fmt.Errorf("connect to the API server of the claims: %w", err)
	}
	cached := memory.NewMemCacheClient(d)
	return &connection{namespace: p.Namespace, client: client, discovery: cached, mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached)}, nil
}

// connected returns the connection of the Watch that is under way, or a new one if there is none.
func (p *Provider) connected() (*connection, error) {
	if w := p.watching(); w != nil {
		return w.connection, nil
	}
	return p.dial()
}

// errNoCRDs: the contract's kinds are not there.
var errNoCRDs error = gone{}

type gone struct{}

func (gone) Error() string {
	return "the API server has no kind IPAddressClaim of group " + Group + "; install the CRDs of Cluster API's IPAM contract"
}

func (gone) Unwrap() error { return allocator.ErrGone }

// errNotTold: discovery does not tell of the contract's kinds, as while an API server starts.
var errNotTold = fmt.Errorf("the API server does not tell of the kinds of group %s yet", Group)

// resources returns what claims and addresses are called where they are. The error is errNoCRDs only if that is certain.
func (c *connection) resources(ctx context.Context) (claims, addresses schema.GroupVersionResource, err error) {
	m, err := c.mapping(schema.GroupKind{Group: Group, Kind: "IPAddressClaim"}, Versions...)
	if meta.IsNoMatchError(err) {
		return claims, addresses, c.absent(ctx)
	} else if err != nil {
		return claims, addresses, err
	}
	claims, addresses = m.Resource, m.Resource
	addresses.Resource = "ipaddresses"
	return claims, addresses, nil
}

// absent asks for claims of each version, of which discovery tells nothing, and returns errNoCRDs if there is none that could be asked for. An
// API server that has yet to read its CRDs answers otherwise.
func (c *connection) absent(ctx context.Context) error {
	for _, version := range Versions {
		claims := schema.GroupVersionResource{Group: Group, Version: version, Resource: "ipaddressclaims"}
		if _, err := c.client.Resource(claims).Namespace(c.namespace).List(ctx, metav1.ListOptions{Limit: 1}); !apierrors.IsNotFound(err) {
			return errNotTold
		}
	}
	return errNoCRDs
}

// mapping asks discovery for a kind, and once more without what it remembers if it is not known.
func (c *connection) mapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	m, err := c.mapper.RESTMapping(kind, versions...)
	if err != nil {
		c.discovery.Invalidate()
		c.mapper.Reset()
		m, err = c.mapper.RESTMapping(kind, versions...)
	}
	if err != nil && !meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("ask for the kinds that the API server of the claims has: %w", accepted(err))
	}
	return m, err
}

// accepted returns an error with a word on credentials, if it is about them.
func accepted(err error) error {
	if apierrors.IsUnauthorized(err) {
		return fmt.Errorf("it does not accept the credentials, which may have expired (Unauthorized): %w", err)
	}
	return err
}

// errFileChanged ends a Watch whose connection may have come to be another one.
var errFileChanged = errors.New("the kubeconfig file has changed")

// fileChange returns when the content of a file is another one than it was, or when ctx ends. A Secret in a pod changes by a link beside it.
func fileChange(ctx context.Context, name string) error {
	was, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", name, err)
	}
	defer w.Close()
	if err := w.Add(filepath.Dir(name)); err != nil {
		return fmt.Errorf("watch %s: %w", name, err)
	}
	for {
		if is, err := os.ReadFile(name); err == nil && !bytes.Equal(is, was) {
			return errFileChanged
		}
		select {
		case <-ctx.Done():
			return nil
		case <-w.Events:
		case err := <-w.Errors:
			return fmt.Errorf("watch %s: %w", name, err)
		}
	}
}
