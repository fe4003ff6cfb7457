package server

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/accountd/accountd/api"
	"github.com/accountd/accountd/enroll"
	"github.com/accountd/accountd/resolver"
	"github.com/accountd/accountd/store"
)

// budgetShown is the share of the largest claim from which an account has a
// gauge of its own: the others would only be many.
const budgetShown = 0.5

// metrics are the service's metrics on a registry of their own. It is a
// resolver.Meter, and a collector of what the nodes show.
type metrics struct {
	registry *prometheus.Registry
	decided  *prometheus.CounterVec
	budget   *prometheus.GaugeVec
	devices  *prometheus.CounterVec

	nodes func() []resolver.Node
	head  func() (uint64, error)

	headDesc, healthy, applied, behind *prometheus.Desc
}

func newMetrics(nodes func() []resolver.Node, head func() (uint64, error)) *metrics {
	node := []string{"node"}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		decided: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "accountd_decisions_total", Help: "Changes of claims that were decided, by door, outcome and refusing rule.",
		}, []string{"via", "outcome", "rule"}),
		budget: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "accountd_claim_budget_ratio", Help: "Share of the largest possible claim in use, of accounts from 0.5 on.",
		}, []string{"account", "name"}),
		devices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "accountd_device_requests_total", Help: "Requests of devices that were decided: enroll, renew or nonce, by outcome and refusing rule.",
		}, []string{"request", "outcome", "rule"}),
		nodes: nodes, head: head,
		headDesc: prometheus.NewDesc("accountd_changes_total", "Changes in the log.", nil, nil),
		healthy:  prometheus.NewDesc("accountd_node_healthy", "Whether the server serves and follows the log.", node, nil),
		applied:  prometheus.NewDesc("accountd_node_applied_changes", "The last change that the server follows.", node, nil),
		behind:   prometheus.NewDesc("accountd_node_behind_changes", "Changes that the server has yet to follow.", node, nil),
	}
	m.registry.MustRegister(m, m.decided, m.budget, m.devices,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// enrolling returns a service that m measures.
func (m *metrics) enrolling(cfg enroll.Config) (*enroll.Service, error) {
	cfg.Decided = func(what, outcome, rule string) { m.devices.WithLabelValues(what, outcome, rule).Inc() }
	return enroll.New(cfg)
}

// measured returns a service that m measures.
func (m *metrics) measured(cfg resolver.Config) (*resolver.Service, error) {
	cfg.Meter = m
	s, err := resolver.New(cfg)
	if err != nil {
		return nil, err
	}
	return s, errors.Join(m.showProposals(s, cfg.Now), m.registry.Register(newRolls(s)), m.showContracts(s, cfg.Now))
}

// showContracts shows when the next contract ends, and how many end within a month.
func (m *metrics) showContracts(s *resolver.Service, now func() time.Time) error {
	gauge := func(name, help string, value func(soon int, next time.Time) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), healthTime)
			defer cancel()
			soon, next, err := s.Contracts(ctx)
			if err != nil {
				return math.NaN()
			}
			return value(soon, next)
		})
	}
	return errors.Join(
		m.registry.Register(gauge("accountd_contract_expiry_seconds", "Until the next contract ends, +Inf if none does.",
			func(_ int, next time.Time) float64 {
				if next.IsZero() {
					return math.Inf(1)
				}
				return next.Sub(now()).Seconds()
			})),
		m.registry.Register(gauge("accountd_contracts_ending", "Contracts that end within 30 days.",
			func(soon int, _ time.Time) float64 { return float64(soon) })),
	)
}

// showProposals shows how many proposals wait, how long the oldest has, and how
// long until the first of them is late.
func (m *metrics) showProposals(s *resolver.Service, now func() time.Time) error {
	gauge := func(name, help string, value func(open []api.Proposal) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), healthTime)
			defer cancel()
			open, err := s.Proposals(ctx)
			if err != nil {
				return math.NaN()
			}
			return value(open)
		})
	}
	return errors.Join(
		m.registry.Register(gauge("accountd_proposals", "Changes of accounts that wait for a signature of the operator.",
			func(open []api.Proposal) float64 { return float64(len(open)) })),
		m.registry.Register(gauge("accountd_proposal_age_seconds", "For how long the oldest of them has waited.",
			func(open []api.Proposal) float64 {
				age := 0.0
				for _, p := range open {
					age = max(age, now().Sub(time.Unix(p.Since, 0)).Seconds())
				}
				return age
			})),
		m.registry.Register(gauge("accountd_proposal_deadline_seconds", "Until the first of them is late, less than 0 if it is, +Inf if none can be.",
			func(open []api.Proposal) float64 {
				left := math.Inf(1)
				for _, p := range open {
					if p.By > 0 {
						left = min(left, time.Unix(p.By, 0).Sub(now()).Seconds())
					}
				}
				return left
			})))
}

// Decided implements resolver.Meter.
func (m *metrics) Decided(via, outcome, rule string) {
	m.decided.WithLabelValues(via, outcome, rule).Inc()
}

// Stored implements resolver.Meter.
func (m *metrics) Stored(account, name string, bytes int) {
	share := float64(bytes) / api.MaxClaim
	if share < budgetShown {
		m.budget.DeletePartialMatch(prometheus.Labels{"account": account})
		return
	}
	m.budget.WithLabelValues(account, name).Set(share)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.headDesc, m.healthy, m.applied, m.behind} {
		to <- d
	}
}

// Collect implements prometheus.Collector. A store that cannot be read leaves
// out what is counted from it.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	head, err := m.head()
	if err == nil {
		to <- prometheus.MustNewConstMetric(m.headDesc, prometheus.CounterValue, float64(head))
	}
	for _, n := range m.nodes() {
		st := n.Status()
		up := 0.0
		if st.Healthy {
			up = 1
		}
		gauge(m.healthy, up, st.Server)
		gauge(m.applied, float64(st.Applied), st.Server)
		if err == nil {
			gauge(m.behind, float64(st.Lacks(head)), st.Server)
		}
	}
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// headOf reads the last sequence number of a store.
func headOf(st store.Store) func() (uint64, error) {
	return func() (head uint64, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), healthTime)
		defer cancel()
		err = st.View(ctx, func(r store.Reader) error {
			head, err = r.Head()
			return err
		})
		return head, err
	}
}
