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

// copiesBatch is how many objects go into one transaction; etcd takes 128.
const copiesBatch = 100

// registries is where the API server keeps the objects of some kinds (its --etcd-prefix left out).
var registries = map[string]string{"Service": "services/specs", "EndpointSlice": "endpointslices", "IPAddress": "ipaddresses"}

// Copies writes copies of objects, which were read from the API server, into etcd itself: the API server creates Services the slower the
// more there are. The i-th copy has every text that replace(i) names replaced, its name among them, and a UID of its own.
func (b *Bed) Copies(ctx context.Context, of []client.Object, from, to int, replace func(i int) []string) error {
	var shapes []string
	for _, o := range of {
		gvk, err := b.Client.GroupVersionKindFor(o)
		if err != nil {
			return err
		}
		o.GetObjectKind().SetGroupVersionKind(gvk)
		o.SetResourceVersion("")
		shape, err := json.Marshal(o)
		if err != nil {
			return err
		}
		shapes = append(shapes, string(shape))
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	step := copiesBatch / len(of)
	for first := from; first < to; first += step {
		g.Go(func() error {
			var puts []map[string]any
			for i := first; i < min(first+step, to); i++ {
				texts := replace(i)
				for k, o := range of {
					r := strings.NewReplacer(append([]string{string(o.GetUID()), string(uuid.NewUUID())}, texts...)...)
					key := "/registry/" + registries[o.GetObjectKind().GroupVersionKind().Kind] + "/"
					if o.GetNamespace() != "" {
						key += o.GetNamespace() + "/"
					}
					puts = append(puts, map[string]any{"requestPut": map[string][]byte{"key": []byte(key + r.Replace(o.GetName())), "value": []byte(r.Replace(shapes[k]))}})
				}
			}
			return b.transact(ctx, map[string]any{"success": puts})
		})
	}
	return g.Wait()
}

// transact runs a transaction of etcd.
func (b *Bed) transact(ctx context.Context, txn map[string]any) error {
	body, err := json.Marshal(txn)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.EtcdURL()+"/v3/kv/txn", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("write to etcd: %s: %.200s: %w", resp.Status, answer, err)
	}
	return nil
}
