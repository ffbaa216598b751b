package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// hook NAME STATUS… starts a server that answers what is posted with these statuses in turn, and then always with the
// last. The variable NAME is its address, where a GET shows what was posted last.
func startHook(ts *testscript.TestScript, _ bool, args []string) {
	var mu sync.Mutex // Guards last and left.
	var last []byte
	left := args[1:]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodGet {
			_, _ = w.Write(last)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // It is gone; the next one counts.
		}
		status, err := strconv.Atoi(left[0])
		if err != nil {
			status = http.StatusInternalServerError
		}
		last, left = body, left[min(1, len(left)-1):]
		w.WriteHeader(status)
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}
