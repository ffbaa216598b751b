package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rekey/internal/apptest/testmain"
)

// patience is how long a script waits for something that is to come.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == companion {
		if err := accompany(os.Stdin, os.Stdout); err != nil {
			panic(err) // The script shows it.
		}
		return
	}
	testscript.Main(testmain.Of(m), map[string]func(){"worker": main})
}

// TestScripts runs the commands as an operator does. The commands that the scripts have
// besides testscript's own are the functions below, and in called_test.go.
func TestScripts(t *testing.T) {
	t.Parallel()
	template, err := os.ReadFile(filepath.Join("testdata", "worker.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	calls := &companions{all: map[string]*running{}}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			// The race detector would make each of the many processes sleep for a second at its end.
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			return os.WriteFile(filepath.Join(env.WorkDir, "worker.yaml"), template, 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"address": reserveAddress, "answers": waitForAnswer, "appears": waitForFile, "empty": checkEmpty,
			"call": calls.call, "exits": calls.exits, "expand": expandFile, "field": keepField, "hook": startHook, "hup": hangUp, "keys": checkKeys, "nats": startServer, "prefix": keepPrefix, "publish": publishFile, "sandbox": startSandbox, "within": calls.within, "shows": waitForPage, "term": terminate, "silent": calls.silent, "until": calls.until,
		},
	})
}

// address NAME… sets each variable to an address of this machine, host:port, where nothing
// listens.
func reserveAddress(ts *testscript.TestScript, _ bool, names []string) {
	// All stay open until the last has been given away, so that they differ.
	var open []net.Listener
	for _, name := range names {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		open = append(open, listener)
		ts.Setenv(name, listener.Addr().String())
	}
	for _, listener := range open {
		ts.Check(listener.Close())
	}
}

// expand FILE… replaces the variables in files by their values.
func expandFile(ts *testscript.TestScript, _ bool, files []string) {
	for _, file := range files {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// await calls look, as often as every says, until it returns nil, and fails the script with its last error when that
// takes too long.
func await(ts *testscript.TestScript, every time.Duration, look func() error) {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := look()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			ts.Fatalf("not within %s: %v", patience, err)
		case <-ticker.C:
		}
	}
}

// answers URL [STATUS] waits until the URL answers with the status, 200 by default.
func waitForAnswer(ts *testscript.TestScript, _ bool, args []string) {
	status := http.StatusOK
	if len(args) == 2 {
		var err error
		status, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	await(ts, 50*time.Millisecond, func() error {
		answer, err := client.Get(args[0])
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != status {
			return fmt.Errorf("%s answers %s", args[0], answer.Status)
		}
		return nil
	})
}

// shows PATTERN URL waits until the page matches.
func waitForPage(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	await(ts, 50*time.Millisecond, func() error {
		answer, err := client.Get(args[1])
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		page, err := io.ReadAll(answer.Body)
		if err == nil && !pattern.Match(page) {
			err = fmt.Errorf("%s does not show %s", args[1], pattern)
		}
		return err
	})
}

// appears PATTERN waits until there is a file whose path matches.
func waitForFile(ts *testscript.TestScript, _ bool, args []string) {
	await(ts, 50*time.Millisecond, func() error {
		found, err := filepath.Glob(ts.MkAbs(args[0]))
		if err == nil && len(found) == 0 {
			err = errors.New("no file matches " + args[0])
		}
		return err
	})
}

// empty DIR checks that nothing is in a folder.
func checkEmpty(ts *testscript.TestScript, _ bool, args []string) {
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(entries) > 0 {
		ts.Fatalf("in %s there is %v", args[0], entries)
	}
}

// documents decodes the last command's standard output: one JSON object or a list of them.
func documents(ts *testscript.TestScript) []map[string]any {
	var list []map[string]any
	text := ts.ReadFile("stdout")
	if strings.HasPrefix(text, "[") {
		ts.Check(json.Unmarshal([]byte(text), &list))
		return list
	}
	var one map[string]any
	ts.Check(json.Unmarshal([]byte(text), &one))
	return []map[string]any{one}
}

// keys KEY… checks that each JSON object of the last command's output has these keys; with
// "exactly" as the first argument, and no others.
func checkKeys(ts *testscript.TestScript, _ bool, want []string) {
	exactly := want[0] == "exactly"
	if exactly {
		want = want[1:]
	}
	list := documents(ts)
	if len(list) == 0 {
		ts.Fatalf("the list is empty")
	}
	for _, doc := range list {
		for _, key := range want {
			if _, ok := doc[key]; !ok {
				ts.Fatalf("key %s is missing", key)
			}
		}
		for key := range doc {
			if exactly && !slices.Contains(want, key) {
				ts.Fatalf("key %s is new", key)
			}
		}
	}
}

// field KEY NAME sets a variable to a value of the first JSON object of the last output.
func keepField(ts *testscript.TestScript, _ bool, args []string) {
	list := documents(ts)
	if len(list) == 0 {
		ts.Fatalf("the list is empty")
	}
	ts.Setenv(args[1], fmt.Sprint(list[0][args[0]]))
}

// prefix TEXT N NAME sets a variable to the first N letters of a text.
func keepPrefix(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Setenv(args[2], args[0][:n])
}

// term VERB… sends SIGTERM to the `worker VERB…` in the background, which a shell may have started; testscript's kill
// cannot.
func terminate(ts *testscript.TestScript, _ bool, args []string) { signalTo(ts, args, syscall.SIGTERM) }

// hup VERB… sends SIGHUP to it.
func hangUp(ts *testscript.TestScript, _ bool, args []string) { signalTo(ts, args, syscall.SIGHUP) }

func signalTo(ts *testscript.TestScript, verb []string, sig syscall.Signal) {
	for _, cmd := range ts.BackgroundCmds() {
		if strings.Contains(strings.Join(cmd.Args, " "), "worker "+strings.Join(verb, " ")) {
			ts.Check(cmd.Process.Signal(sig))
			return
		}
	}
	ts.Fatalf("no worker %s runs in the background", strings.Join(verb, " "))
}
