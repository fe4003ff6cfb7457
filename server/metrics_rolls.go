package server

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/accountd/accountd/resolver"
)

// rolls shows the fleets whose replaced keys are not all retired, each with
// series of its own while that lasts.
type rolls struct {
	service   *resolver.Service
	old, last *prometheus.Desc
}

func newRolls(s *resolver.Service) rolls {
	of := []string{"account", "name", "fleet"}
	return rolls{
		service: s,
		old:     prometheus.NewDesc("accountd_fleet_old_keys", "Keys of a fleet that were replaced and still admit what they signed.", of, nil),
		last:    prometheus.NewDesc("accountd_fleet_roll_end_timestamp_seconds", "When the last of them is to be retired.", of, nil),
	}
}

// Describe implements prometheus.Collector.
func (c rolls) Describe(to chan<- *prometheus.Desc) {
	to <- c.old
	to <- c.last
}

// Collect implements prometheus.Collector.
func (c rolls) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), healthTime)
	defer cancel()
	list, err := c.service.Rolls(ctx)
	if err != nil {
		return
	}
	for _, r := range list {
		to <- prometheus.MustNewConstMetric(c.old, prometheus.GaugeValue, float64(r.Old), r.Account, r.Name, r.Fleet)
		to <- prometheus.MustNewConstMetric(c.last, prometheus.GaugeValue, float64(r.Last), r.Account, r.Name, r.Fleet)
	}
}
