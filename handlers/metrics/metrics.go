// Package metrics says in figures, to Prometheus, how an engine does.
package metrics

import (
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"borealis/tunnel"
)

const (
	maxScrapes    = 4                // at the same time
	scrapeTimeout = 10 * time.Second // of one, as its client sees it
)

// Config describes [Metrics].
type Config struct {
	Version string       // of the engine
	Started time.Time    // when it was started; zero means now
	Logger  *slog.Logger // nil is silent
}

// Metrics are the figures of one engine. No label of them has values that could grow without
// end: none names a device, a tunnel, or an operator. They are safe for concurrent use.
type Metrics struct {
	log      *slog.Logger
	registry *prometheus.Registry

	steps    *prometheus.HistogramVec
	ends     *prometheus.CounterVec
	lifetime prometheus.Histogram
	repairs  *prometheus.CounterVec
	echo     prometheus.Histogram
}

// New returns metrics of an engine that does not exist yet: what happens in it comes by
// [Metrics.Observer], and what there is by [Metrics.Attach].
func New(c Config) *Metrics {
	if c.Started.IsZero() {
		c.Started = time.Now()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Metrics{
		log: c.Logger, registry: prometheus.NewRegistry(),
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "borealis_tunnel_step_seconds", Help: "How long a tunnel took from the step before to this one.",
			Buckets: quick,
		}, []string{"step"}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "borealis_tunnel_ends_total", Help: "Tunnels that have ended, by why.",
		}, []string{"reason"}),
		lifetime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "borealis_tunnel_lifetime_seconds", Help: "How long tunnels lived, from the request to the end.",
			Buckets: []float64{1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600},
		}),
		repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "borealis_repairs_total", Help: "What somebody had changed on the host and the engine has put right, by what it was.",
		}, []string{"what"}),
		echo: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "borealis_terminal_echo_seconds", Help: "How long a device took to answer a key, at the engine.",
			Buckets: quick,
		}),
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "borealis_build_info", Help: "The engine's version and the Go that it was built with; always 1.",
	}, []string{"version", "go"})
	build.WithLabelValues(c.Version, runtime.Version()).Set(1)
	started := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "borealis_start_time_seconds", Help: "When the engine was started, in seconds since 1970.",
	})
	started.Set(float64(c.Started.UnixMilli()) / 1000)
	m.registry.MustRegister(
		m.steps, m.ends, m.lifetime, m.repairs, m.echo, build, started,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.begin()
	return m
}

// quick are the bounds of what should take milliseconds and is given up after seconds.
var quick = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30}

// steps are the states that a tunnel comes to in times that say something.
var steps = []tunnel.State{tunnel.Offered, tunnel.Ready, tunnel.Peered, tunnel.Up, tunnel.Ended}

// repairs is all that [tunnel.Observer] says was repaired.
var repairs = []string{"firewall", "link", "peer", "session"}

// begin makes every figure there from the start, as zero: a rate needs two values.
func (m *Metrics) begin() {
	for _, s := range steps {
		m.steps.WithLabelValues(string(s))
	}
	for _, r := range tunnel.Reasons() {
		m.ends.WithLabelValues(string(r))
	}
	for _, what := range repairs {
		m.repairs.WithLabelValues(what)
	}
}

// Observer is for [tunnel.Config].
func (m *Metrics) Observer() tunnel.Observer {
	return tunnel.Observer{
		Step: func(s tunnel.State, took time.Duration) {
			if slices.Contains(steps, s) { // how long a tunnel was up is its lifetime, not a step
				m.steps.WithLabelValues(string(s)).Observe(took.Seconds())
			}
		},
		Ended: func(r tunnel.Reason, lived time.Duration) {
			m.ends.WithLabelValues(string(r)).Inc()
			m.lifetime.Observe(lived.Seconds())
		},
		Repaired: func(what string) { m.repairs.WithLabelValues(what).Inc() },
		Echo:     func(took time.Duration) { m.echo.Observe(took.Seconds()) },
	}
}

// Handler answers scrapes.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(m.log.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		OfferedCompressions: []promhttp.Compression{promhttp.Identity, promhttp.Gzip},
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	})
}
