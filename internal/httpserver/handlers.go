package httpserver

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"rekey/internal/readiness"
)

const (
	// maxScrapes is how many scrapes may run at once; the ones above get 503.
	maxScrapes = 4
	// scrapeTimeout is as long as Prometheus waits by default.
	scrapeTimeout = 10 * time.Second
)

// index is what / shows.
const index = `Rekey

/metrics  Prometheus metrics, in OpenMetrics if asked for
/healthz  200 while the process works
/readyz   200 if the worker can do its work, else 503 and why not
`

// health is the body of /healthz.
type health struct {
	Status string `json:"status"` // "ok".
}

// handler routes. The patterns make the mux answer other methods than GET and HEAD with 405 and
// Allow, and other paths with 404.
func (s *Server) handler(gatherer prometheus.Gatherer, pages http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metricsHandler(gatherer))
	mux.HandleFunc("GET /healthz", s.serveHealth)
	mux.HandleFunc("GET /readyz", s.serveReady)
	if pages != nil {
		mux.Handle("/", pages)
	} else {
		mux.HandleFunc("GET /{$}", s.serveIndex)
	}
	return secure(mux)
}

// metricsHandler shows what can be gathered even if some cannot: a broken collector must not hide
// the rest from those who look for the cause.
func (s *Server) metricsHandler(gatherer prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorLog:            scrapeLog{s.log},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
		EnableOpenMetrics:   true,
	})
}

func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request) {
	s.writeJSON(w, http.StatusOK, health{"ok"})
}

func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) {
	report := s.checks.Report(r.Context())
	code := http.StatusServiceUnavailable
	if report.Status == readiness.Ready {
		code = http.StatusOK
	}
	s.writeJSON(w, code, report)
}

func (s *Server) serveIndex(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err := io.WriteString(w, index)
	s.logWrite(err)
}

// writeJSON answers with one line of JSON.
func (s *Server) writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false) // People read it, with subjects such as $KV.REKEY_LEDGER.> in it; no browser takes it for a page.
	s.logWrite(encoder.Encode(body))
}

// logWrite logs that an answer could not be written, which is nearly always a client that left.
func (s *Server) logWrite(err error) {
	if err != nil {
		s.log.Debug("writing answer", zap.Error(err))
	}
}

// Name is what every answer calls the server, by which a worker is recognised.
const Name = "Rekey"

// secure sets the headers that keep a browser from doing more with an answer than showing it.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Server", Name)
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// scrapeLog takes the errors of promhttp.
type scrapeLog struct {
	log *zap.Logger
}

// Println logs one error. Several gathering errors come as one text of many lines, which become
// one line here.
func (l scrapeLog) Println(v ...any) {
	text := strings.TrimSpace(fmt.Sprintln(v...))
	l.log.Error("serving metrics", zap.String("error", strings.ReplaceAll(text, "\n", "; ")))
}
