package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cilium/hive/cell"
	"github.com/cilium/hive/job"
	"github.com/cilium/statedb"

	"github.com/cilium/cilium/pkg/datapath/tables"
	"github.com/cilium/cilium/pkg/loadbalancer"
)

// dumpEvery is how often the tables are looked at.
const dumpEvery = 100 * time.Millisecond

// dumper writes, a line each, the frontends of load balancers and what the node would announce on layer 2:
//
//	frontend LoadBalancer 192.0.2.1:80/TCP default/web backends=1
//	l2 192.0.2.1 on eth0
type dumper struct {
	cell.In
	Jobs      job.Group
	DB        *statedb.DB
	Frontends statedb.Table[*loadbalancer.Frontend]
	L2        statedb.Table[*tables.L2AnnounceEntry]
}

// register has the file at path written whenever that changes; nothing for no path.
func (d dumper) register(path string) {
	if path == "" {
		return
	}
	last := "none yet"
	d.Jobs.Add(job.Timer("lab-dump", func(context.Context) error {
		now := d.text()
		if now == last {
			return nil
		}
		next := path + ".next"
		if err := os.WriteFile(next, []byte(now), 0o644); err != nil {
			return err
		}
		if err := os.Rename(next, path); err != nil {
			return err
		}
		last = now
		return nil
	}, dumpEvery))
}

func (d dumper) text() string {
	var lines []string
	tx := d.DB.ReadTxn()
	for f := range d.Frontends.All(tx) {
		if f.Type != loadbalancer.SVCTypeLoadBalancer && f.Type != loadbalancer.SVCTypeExternalIPs {
			continue
		}
		n := 0
		for range f.Backends {
			n++
		}
		lines = append(lines, fmt.Sprintf("frontend %s %s %s backends=%d\n", f.Type, f.Address.StringWithProtocol(), f.Service.Name, n))
	}
	for e := range d.L2.All(tx) {
		lines = append(lines, fmt.Sprintf("l2 %s on %s\n", e.IP, e.NetworkInterface))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
