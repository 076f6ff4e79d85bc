// Command shop is one service of the testbed's shop: it works a little, calls the next service and answers.
//
// Knobs, from the environment (a flag of the image wins over nothing, the environment is for people):
//
//	FAIL_RATIO     share of answers that are 500 (0..1); -fail-ratio is the failure built into a bad image
//	LATENCY_MS     added to every answer
//	CAPACITY       requests served at once, the rest queue (0: no bound); a queue four times as long refuses with 503
//	WORK_MS        time that one request holds its place
//	CALLS          URL of the next service; its failure is this service's failure
//	CALLEE         name of that service in http_client_requests_total
//	EAT_MB         memory taken at start
//	EXIT_AFTER_S   ends with code 1 after that time
//	LEAK_S         after that time most answers are 500, as of a program that has used something up
//
// POST /fault?errors=SHARE&delay_ms=N&seconds=N lets that share of answers be 500 and all of them late, for a time (a minute
// unless told otherwise, an hour at most); without errors and delay_ms it is over. GET /fault tells what is on.
//
// An answer of 500 and above is written to standard error, in one line.
//
// /healthz answers 200 while the process lives, /metrics speaks Prometheus' text format, `shop pause` only waits.
// `shop load -url URL -listen ADDRESS -per-second N` is the shop's customers: requests at random moments, however long
// the answers take; POST /rate?per_second=N changes how many.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The share of answers that fail of what has leaked for too long.
const leaked = 0.7

var bounds = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}

// trouble is what the fault switch was set to.
type trouble struct {
	errors float64
	delay  time.Duration
	until  time.Time
}

type shop struct {
	switched      atomic.Pointer[trouble]
	version       string
	fail, built   float64
	used_up       atomic.Bool
	latency, work time.Duration
	capacity      int64
	calls, callee string
	called        atomic.Int64
	client        *http.Client
	places        chan struct{}
	busy, waiting atomic.Int64
	mu            sync.Mutex
	counts        map[int]uint64
	buckets       []uint64
	sum           float64
	total         uint64
}

func number(name string, otherwise float64) float64 {
	if text := os.Getenv(name); text != "" {
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s=%q is not a number\n", name, text)
			os.Exit(2)
		}
		return value
	}
	return otherwise
}

func milliseconds(name string) time.Duration {
	return time.Duration(number(name, 0) * float64(time.Millisecond))
}

func newShop(version string, built float64) *shop {
	s := &shop{
		version: version, built: built, fail: number("FAIL_RATIO", 0),
		latency: milliseconds("LATENCY_MS"), work: milliseconds("WORK_MS"),
		capacity: int64(number("CAPACITY", 0)), calls: os.Getenv("CALLS"), callee: os.Getenv("CALLEE"),
		// A fresh connection for each call: the Service then spreads the calls over all its pods.
		client: &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
		counts: map[int]uint64{200: 0, 500: 0}, buckets: make([]uint64, len(bounds)),
	}
	if s.capacity > 0 {
		s.places = make(chan struct{}, s.capacity)
	}
	return s
}

// answer does the work of one request and says with which code it ends.
func (s *shop) answer(ctx context.Context) (int, string) {
	if s.places != nil {
		if s.waiting.Add(1) > 4*s.capacity {
			s.waiting.Add(-1)
			return http.StatusServiceUnavailable, "queue is full"
		}
		select {
		case s.places <- struct{}{}:
			s.waiting.Add(-1)
			defer func() { <-s.places }()
		case <-ctx.Done():
			s.waiting.Add(-1)
			return http.StatusServiceUnavailable, "gave up waiting"
		}
	}
	now := s.trouble()
	s.busy.Add(1)
	time.Sleep(s.work + s.latency + now.delay)
	s.busy.Add(-1)
	if rand.Float64() < now.errors || rand.Float64() < s.fail || rand.Float64() < s.built || (s.used_up.Load() && rand.Float64() < leaked) {
		return http.StatusInternalServerError, "failed"
	}
	if s.calls == "" {
		return http.StatusOK, "ok"
	}
	return s.next(ctx)
}

// trouble tells what the fault switch is set to now.
func (s *shop) trouble() trouble {
	if found := s.switched.Load(); found != nil && time.Now().Before(found.until) {
		return *found
	}
	return trouble{}
}

func asked(r *http.Request, name string, otherwise, most float64) (float64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || !(value >= 0 && value <= most) {
		return 0, fmt.Errorf("%s=%q is not a number from 0 to %g", name, text, most)
	}
	return value, nil
}

func (s *shop) fault(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		errors, wrong := asked(r, "errors", 0, 1)
		delay, late := asked(r, "delay_ms", 0, 60_000)
		seconds, long := asked(r, "seconds", 60, 3600)
		for _, err := range []error{wrong, late, long} {
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		until := time.Now().Add(time.Duration(seconds * float64(time.Second)))
		s.switched.Store(&trouble{errors, time.Duration(delay * float64(time.Millisecond)), until})
	}
	now := s.trouble()
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, "{\"errors\": %g, \"delay_ms\": %g}\n", now.errors, float64(now.delay)/float64(time.Millisecond))
}

func (s *shop) next(ctx context.Context) (int, string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.calls, nil)
	if err != nil {
		return http.StatusInternalServerError, err.Error()
	}
	s.called.Add(1)
	response, err := s.client.Do(request)
	if err != nil {
		return http.StatusBadGateway, err.Error()
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	if response.StatusCode >= 500 {
		return http.StatusBadGateway, "next service answered " + response.Status
	}
	return http.StatusOK, "ok"
}

func (s *shop) serve(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	code, text := s.answer(r.Context())
	seconds := time.Since(begin).Seconds()
	if code >= 500 {
		log.Printf("ERROR %s %s: %d %s", r.Method, r.URL.Path, code, text)
	}
	s.mu.Lock()
	s.counts[code]++
	s.total++
	s.sum += seconds
	for i, bound := range bounds {
		if seconds <= bound {
			s.buckets[i]++
		}
	}
	s.mu.Unlock()
	w.WriteHeader(code)
	fmt.Fprintf(w, "%s %s\n", s.version, text)
}

func (s *shop) metrics(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	fmt.Fprintln(w, "# TYPE http_requests_total counter")
	for code, count := range s.counts {
		fmt.Fprintf(w, "http_requests_total{code=\"%d\"} %d\n", code, count)
	}
	if s.callee != "" {
		fmt.Fprintln(w, "# TYPE http_client_requests_total counter")
		fmt.Fprintf(w, "http_client_requests_total{callee=%q} %d\n", s.callee, s.called.Load())
	}
	fmt.Fprintln(w, "# TYPE http_request_duration_seconds histogram")
	for i, bound := range bounds {
		fmt.Fprintf(w, "http_request_duration_seconds_bucket{le=\"%g\"} %d\n", bound, s.buckets[i])
	}
	fmt.Fprintf(w, "http_request_duration_seconds_bucket{le=\"+Inf\"} %d\n", s.total)
	fmt.Fprintf(w, "http_request_duration_seconds_sum %g\nhttp_request_duration_seconds_count %d\n", s.sum, s.total)
	fmt.Fprintln(w, "# TYPE http_requests_in_flight gauge")
	fmt.Fprintf(w, "http_requests_in_flight %d\n", s.busy.Load()+s.waiting.Load())
	fmt.Fprintln(w, "# TYPE http_requests_limit gauge")
	fmt.Fprintf(w, "http_requests_limit %d\n", s.capacity)
}

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if len(os.Args) > 1 && os.Args[1] == "pause" {
		<-stop
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "load" {
		load(os.Args[2:])
		return
	}
	version := flag.String("version", "v1", "what the image calls itself")
	built := flag.Float64("fail-ratio", 0, "share of answers that fail")
	flag.Parse()
	s := newShop(*version, *built)
	eaten := make([]byte, int(number("EAT_MB", 0))<<20)
	for i := 0; i < len(eaten); i += 4096 {
		eaten[i] = 1
	}
	if after := number("EXIT_AFTER_S", 0); after > 0 {
		time.AfterFunc(time.Duration(after*float64(time.Second)), func() { os.Exit(1) })
	}
	if after := number("LEAK_S", 0); after > 0 {
		time.AfterFunc(time.Duration(after*float64(time.Second)), func() { s.used_up.Store(true) })
	}
	http.HandleFunc("/", s.serve)
	http.HandleFunc("/metrics", s.metrics)
	http.HandleFunc("/fault", s.fault)
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	server := &http.Server{Addr: ":8080", ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		<-stop
		// Keep serving for a moment: kube-proxy takes the pod out of the Service meanwhile.
		time.Sleep(700 * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		server.Shutdown(ctx)
		close(done)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-done
	_ = eaten
}
