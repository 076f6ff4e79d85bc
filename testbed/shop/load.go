package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// load sends requests as customers do: each comes at a moment of its own (exponential gaps), and none waits for another.
func load(arguments []string) {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	url := flags.String("url", "", "where the requests go")
	listen := flags.String("listen", "127.0.0.1:0", "where the rate is told")
	first := flags.Float64("per-second", 10, "requests per second at first")
	flags.Parse(arguments)
	var rate atomic.Value
	rate.Store(*first)
	var sent, failed atomic.Int64
	http.HandleFunc("/rate", func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			value, err := strconv.ParseFloat(r.FormValue("per_second"), 64)
			if err != nil || value < 0 {
				http.Error(w, "per_second must be a number that is not negative", http.StatusBadRequest)
				return
			}
			rate.Store(value)
		}
		fmt.Fprintf(w, "{\"per_second\": %g, \"sent\": %d, \"failed\": %d}\n", rate.Load(), sent.Load(), failed.Load())
	})
	go func() {
		fmt.Fprintln(os.Stderr, http.ListenAndServe(*listen, nil))
		os.Exit(1)
	}()
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	next := time.Now()
	for {
		perSecond := rate.Load().(float64)
		if perSecond <= 0 {
			time.Sleep(50 * time.Millisecond)
			next = time.Now()
			continue
		}
		next = next.Add(time.Duration(rand.ExpFloat64() / perSecond * float64(time.Second)))
		time.Sleep(time.Until(next))
		go func() {
			sent.Add(1)
			response, err := client.Get(*url)
			if err != nil {
				failed.Add(1)
				return
			}
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if response.StatusCode >= 500 {
				failed.Add(1)
			}
		}()
	}
}
