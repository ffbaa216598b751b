package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"rekey/internal/demo"
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

// sandbox ARG… is exec worker sandbox ARG… in this process, until the script is over: most scripts only need its answers.
func startSandbox(ts *testscript.TestScript, _ bool, args []string) {
	env := map[string]string{}
	for _, name := range []string{demo.EnvClientSecret, demo.EnvPrivateKey} {
		env[name] = ts.Getenv(name)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	var stderr strings.Builder // It may be read once the command has ended.
	commands := &cli{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr, lookupEnv: func(name string) (string, bool) {
		return env[name], env[name] != ""
	}}
	go func() { ended <- commands.execute(ctx, append([]string{"sandbox"}, args...)) }()
	ts.Defer(func() {
		stop()
		if code := <-ended; code != exitDone {
			ts.Logf("the sandbox ended with %d\n%s", code, stderr.String())
		}
	})
}
