package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/uuid"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// registries is where the API server keeps the objects of some kinds (its --etcd-prefix left out).
var registries = map[string]string{
	"Service": "services/specs", "EndpointSlice": "endpointslices", "IPAddress": "ipaddresses", "Node": "minions", "Pod": "pods",
	"Lease": "leases", "ServiceL2Status": "metallb.io/servicel2statuses", "ServiceBGPStatus": "metallb.io/servicebgpstatuses",
	"ConfigurationState": "metallb.io/configurationstates", "BGPSession": "fairlead.io/bgpsessions",
}

// Copies writes copies of objects, which were read from the API server, into etcd itself: the API server creates Services the slower the
// more there are. The i-th copy has every text that replace(i) names replaced, its name among them, and a UID of its own.
func (b *Bed) Copies(ctx context.Context, of []client.Object, from, to int, replace func(i int) []string) error {
	var shapes []string
	for _, o := range of {
		gvk, err := b.Client.GroupVersionKindFor(o)
		if err != nil {
			return err
		}
		if registries[gvk.Kind] == "" {
			return fmt.Errorf("copy %s: it is not known where the API server keeps them", gvk.Kind)
		}
		o.GetObjectKind().SetGroupVersionKind(gvk)
		o.SetResourceVersion("")
		shape, err := json.Marshal(o)
		if err != nil {
			return err
		}
		shapes = append(shapes, string(shape))
	}
	defer etcd.CloseIdleConnections() // etcd waits for them when it stops
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(32)
	for i := from; i < to; i++ {
		g.Go(func() error {
			texts := replace(i)
			for k, o := range of {
				r := strings.NewReplacer(append([]string{string(o.GetUID()), string(uuid.NewUUID())}, texts...)...)
				key := "/registry/" + registries[o.GetObjectKind().GroupVersionKind().Kind] + "/"
				if o.GetNamespace() != "" {
					key += o.GetNamespace() + "/"
				}
				// One at a time: objects of one transaction would have the same resourceVersion, from which a watch may go on.
				if err := b.put(ctx, key+r.Replace(o.GetName()), r.Replace(shapes[k])); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// Overwrite writes objects, which were read from the API server and changed since, into etcd itself, 32 at a time: who watches hears of more
// changes in a second than the API server can take. Those of one object arrive in the order of the list.
func (b *Bed) Overwrite(ctx context.Context, objects []client.Object) error {
	type change struct{ key, value string }
	const writers = 32
	var by [writers][]change
	of := map[string]int{} // by key: which writer
	for _, o := range objects {
		gvk, err := b.Client.GroupVersionKindFor(o)
		if err != nil {
			return err
		}
		if registries[gvk.Kind] == "" || o.GetNamespace() == "" {
			return fmt.Errorf("overwrite %s: it is not known where the API server keeps them", gvk.Kind)
		}
		o.GetObjectKind().SetGroupVersionKind(gvk)
		o.SetResourceVersion("")
		value, err := json.Marshal(o)
		if err != nil {
			return err
		}
		key := "/registry/" + registries[gvk.Kind] + "/" + o.GetNamespace() + "/" + o.GetName()
		if _, known := of[key]; !known {
			of[key] = len(of) % writers
		}
		by[of[key]] = append(by[of[key]], change{key, string(value)})
	}
	defer etcd.CloseIdleConnections()
	g, ctx := errgroup.WithContext(ctx)
	for _, mine := range by {
		g.Go(func() error {
			for _, c := range mine {
				if err := b.put(ctx, c.key, c.value); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// etcd keeps connections to it for the next request.
var etcd = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}

// put writes a key.
func (b *Bed) put(ctx context.Context, key, value string) error {
	body, err := json.Marshal(map[string][]byte{"key": []byte(key), "value": []byte(value)})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.EtcdURL()+"/v3/kv/put", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := etcd.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("write to etcd: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("write to etcd: %s: %.200s", resp.Status, answer)
	}
	return nil
}
