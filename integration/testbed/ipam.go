package testbed

import (
	"github.com/fairlead/fairlead/internal/tool/localcluster"
)

// ServeIPAM has the cluster serve Cluster API's IPAM contract, and starts its in-cluster provider, which ends with the Bed at the latest.
func (b *Bed) ServeIPAM() (*Process, error) {
	all, err := localcluster.ReadCRDs(localcluster.IPAMCRDs, Folder("bin"))
	if err != nil {
		return nil, err
	}
	if err := b.InstallCRDs(all...); err != nil {
		return nil, err
	}
	return b.LaunchIPAM()
}

// LaunchIPAM starts the in-cluster provider, which ends with the Bed at the latest. It makes its addresses from GlobalInClusterIPPools and
// InClusterIPPools.
func (b *Bed) LaunchIPAM() (*Process, error) {
	p, err := b.launch(Folder("bin", localcluster.IPAMProvider), localcluster.IPAMArgs(b.kubeconfig)...)
	if err == nil {
		b.helpers = append(b.helpers, p)
	}
	return p, err
}
