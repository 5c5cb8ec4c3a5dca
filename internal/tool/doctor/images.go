package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/internal/tool/explain"
)

// unpulled are the reasons for which a container waits whose image the node cannot get.
var unpulled = []string{"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"}

// imagesCheck looks for pods that do not run because there is no image for them.
func imagesCheck(f *Facts, c *check) {
	pods, said, command := map[string][]string{}, map[string]string{}, map[string]string{}
	for _, list := range [][]corev1.Pod{f.ControllerPods, f.Pods} {
		for i := range list {
			p := &list[i]
			for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
				w := s.State.Waiting
				if w == nil || !slices.Contains(unpulled, w.Reason) {
					continue
				}
				pods[s.Image] = append(pods[s.Image], p.Name)
				said[s.Image] = w.Reason
				if w.Message != "" {
					said[s.Image] += ": " + w.Message
				}
				command[s.Image] = fmt.Sprintf("kubectl -n %s describe pod %s", p.Namespace, p.Name)
			}
		}
	}
	another := f.command(change{values: "--set controller.image.repository=REGISTRY/fairlead,controller.image.tag=TAG",
		note: "an image that is there; docs/install.md tells how to build one"})
	for _, image := range slices.Sorted(maps.Keys(pods)) {
		slices.Sort(pods[image])
		c.add(Error, Finding{
			What:    fmt.Sprintf("the image %q cannot be pulled for pod %s: %s", image, explain.Some(slices.Compact(pods[image])), said[image]),
			Why:     "what is to run in them does not",
			Command: cmp.Or(another, command[image]),
		})
	}
}
