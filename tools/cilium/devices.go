package main

import (
	"net"
	"net/netip"

	"github.com/cilium/hive/cell"
	"github.com/cilium/statedb"

	"github.com/cilium/cilium/pkg/datapath/tables"
)

// fillDevices enters the devices of the network namespace into the table that the datapath's devices controller keeps, once.
func fillDevices(lc cell.Lifecycle, db *statedb.DB, devices statedb.RWTable[*tables.Device]) {
	lc.Append(cell.Hook{OnStart: func(cell.HookContext) error {
		all, err := net.Interfaces()
		if err != nil {
			return err
		}
		tx := db.WriteTxn(devices)
		defer tx.Abort()
		for _, i := range all {
			d := &tables.Device{Index: i.Index, MTU: i.MTU, Name: i.Name, HardwareAddr: tables.HardwareAddr(i.HardwareAddr),
				Flags: i.Flags, OperStatus: "up", Selected: i.Flags&net.FlagLoopback == 0}
			addrs, err := i.Addrs()
			if err != nil {
				return err
			}
			for _, a := range addrs {
				if p, err := netip.ParsePrefix(a.String()); err == nil {
					d.Addrs = append(d.Addrs, tables.DeviceAddress{Addr: p.Addr()})
				}
			}
			if _, _, err := devices.Insert(tx, d); err != nil {
				return err
			}
		}
		tx.Commit()
		return nil
	}})
}
