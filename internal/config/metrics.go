package config

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics tell of the configuration in force. The names under metallb_ are MetalLB's.
type Metrics struct {
	generation atomic.Int64
	snapshot   atomic.Pointer[Snapshot]
}

var (
	loadedDesc = prometheus.NewDesc("metallb_k8s_client_config_loaded_bool", "1 if a configuration is in force.", nil, nil)
	staleDesc  = prometheus.NewDesc("metallb_k8s_client_config_stale_bool",
		"1 if the newest version of an object is faulty and so not in force.", nil, nil)
	generationDesc = prometheus.NewDesc("fairlead_snapshot_generation", "Configurations that were put in force since the start.", nil, nil)
	faultyDesc     = prometheus.NewDesc("fairlead_faulty_objects", "Objects that are faulty, by kind.", []string{"kind"}, nil)
)

// inForce notes that s is in force from now on.
func (m *Metrics) inForce(s *Snapshot) {
	m.generation.Add(1)
	m.snapshot.Store(s)
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{loadedDesc, staleDesc, generationDesc, faultyDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.snapshot.Load()
	faulty := map[Ref]bool{}
	if s != nil {
		for _, f := range s.Faults() {
			faulty[f.Object] = true
		}
	}
	kinds := map[string]int{}
	for ref := range faulty {
		kinds[ref.Kind]++
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(loadedDesc, boolean(s != nil))
	gauge(staleDesc, boolean(len(faulty) > 0))
	gauge(generationDesc, float64(m.generation.Load()))
	for kind, n := range kinds {
		gauge(faultyDesc, float64(n), kind)
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
