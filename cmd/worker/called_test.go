package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// companion is the name of a process beside a script. It runs the commands that the script calls, one after another, in
// the script's folder: a process for each of them would spend nearly all of its time on its start, and there are
// hundreds. What runs in the background, is asked at a terminal or reads standard input is a process of its own.
const companion = "companion"

// call is a command that a script calls.
type call struct {
	Args   []string `json:"args"`
	Env    []string `json:"env"`
	Folder string   `json:"folder"`
}

// answer is what came of it. A command that prints past its cli is found: the companion's own output has nothing but answers.
type answer struct {
	Code   int    `json:"code"`
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`

	kept bool // The script has what it printed.
}

// keep leaves what a command printed to the script.
func (a answer) keep(ts *testscript.TestScript) {
	if a.kept {
		return
	}
	_, err := io.WriteString(ts.Stdout(), a.Stdout)
	ts.Check(err)
	_, err = io.WriteString(ts.Stderr(), a.Stderr)
	ts.Check(err)
}

// accompany runs the calls that it reads until there are no more, which also interrupts the one that runs.
func accompany(in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	calls := make(chan call)
	var failed error // Set before calls is closed.
	go func() {
		defer close(calls)
		defer cancel()
		for decoder := json.NewDecoder(in); failed == nil; {
			var c call
			if failed = decoder.Decode(&c); failed == nil {
				calls <- c
			}
		}
	}()
	zone := time.Local //nolint:gosmopolitan // A command may set it for its process.
	for c := range calls {
		time.Local = zone //nolint:gosmopolitan,reassign // As it is at the start of a process.
		result, err := perform(ctx, c)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(out).Encode(result); err != nil {
			return err
		}
	}
	if errors.Is(failed, io.EOF) {
		return nil
	}
	return failed
}

// perform runs a command as main does, in its folder and environment.
func perform(ctx context.Context, c call) (answer, error) {
	if err := os.Chdir(c.Folder); err != nil {
		return answer{}, err
	}
	os.Clearenv()
	for _, pair := range c.Env {
		name, value, _ := strings.Cut(pair, "=")
		if err := os.Setenv(name, value); err != nil { //nolint:forbidigo // The companion is a command of its own.
			return answer{}, err
		}
	}
	var stdout, stderr bytes.Buffer
	commands := &cli{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, lookupEnv: os.LookupEnv}
	code := commands.execute(ctx, c.Args)
	return answer{Code: code, Stdout: stdout.String(), Stderr: stderr.String()}, nil
}

// companions are those of the scripts that run.
type companions struct {
	mu  sync.Mutex // Guards all.
	all map[string]*running
}

// running is the companion of one script.
type running struct {
	cmd     *exec.Cmd
	calls   *json.Encoder
	answers *json.Decoder
	stderr  *bytes.Buffer // Of the process: why it died. It may be read once the process has ended.
	names   []string      // Of the variables that the script may have set.
}

// variable is how scripts write the name of one.
var variable = regexp.MustCompile(`\b[A-Z][A-Z0-9_]+\b`)

// of returns the companion of a script, which begins with its first call.
func (c *companions) of(ts *testscript.TestScript) *running {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.all[ts.Name()]; r != nil {
		return r
	}
	script, err := os.ReadFile(filepath.Join("testdata", "script", ts.Name()+".txtar"))
	ts.Check(err)
	program, err := os.Executable()
	ts.Check(err)
	r := &running{cmd: exec.Command(program), stderr: &bytes.Buffer{}, names: variable.FindAllString("HOME PATH TMPDIR "+string(script), -1)}
	r.cmd.Args[0], r.cmd.Stderr = companion, r.stderr
	in, err := r.cmd.StdinPipe()
	ts.Check(err)
	out, err := r.cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(r.cmd.Start())
	r.calls, r.answers = json.NewEncoder(in), json.NewDecoder(out)
	c.all[ts.Name()] = r
	ts.Defer(func() {
		in.Close()
		if err := r.cmd.Wait(); err != nil {
			ts.Logf("the companion: %v\n%s", err, r.stderr)
		}
	})
	return r
}

// run has the companion of a script run a command.
func (c *companions) run(ts *testscript.TestScript, args []string) answer {
	r := c.of(ts)
	todo := call{Args: args, Folder: ts.MkAbs(".")}
	for _, name := range r.names {
		if value := ts.Getenv(name); value != "" {
			todo.Env = append(todo.Env, name+"="+value)
		}
	}
	var result answer
	err := r.calls.Encode(todo)
	if err == nil {
		err = r.answers.Decode(&result)
	}
	if err != nil {
		ts.Check(r.cmd.Process.Kill())
		ts.Fatalf("the companion: %v", errors.Join(err, r.cmd.Wait(), errors.New(r.stderr.String())))
	}
	return result
}

// execute runs a command of a script: by the companion if it begins with "worker", else as a process, which "exec worker" is.
func (c *companions) execute(ts *testscript.TestScript, args []string) answer {
	if args[0] == "worker" {
		return c.run(ts, args[1:])
	}
	if args[0] == "exec" {
		args = args[1:]
	}
	err := ts.Exec(args[0], args[1:]...)
	result := answer{Stdout: ts.ReadFile("stdout"), Stderr: ts.ReadFile("stderr"), kept: true}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		result.Code = exit.ExitCode()
		return result
	}
	ts.Check(err)
	return result
}

// call worker ARG… is exec worker ARG… by the companion.
func (c *companions) call(ts *testscript.TestScript, neg bool, args []string) {
	result := c.execute(ts, args)
	result.keep(ts)
	if (result.Code != 0) != neg {
		ts.Fatalf("the exit code is %d", result.Code)
	}
}

// exits CODE COMMAND… runs a command and checks its exit code.
func (c *companions) exits(ts *testscript.TestScript, _ bool, args []string) {
	result := c.execute(ts, args[1:])
	result.keep(ts)
	if strconv.Itoa(result.Code) != args[0] {
		ts.Fatalf("the exit code is %d, want %s", result.Code, args[0])
	}
}

// until PATTERN COMMAND… runs a command again and again until its standard output matches.
func (c *companions) until(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	var result answer
	await(ts, 100*time.Millisecond, func() error {
		if result = c.execute(ts, args[1:]); result.Code != 0 {
			return fmt.Errorf("the exit code is %d: %s", result.Code, result.Stderr)
		}
		if !pattern.MatchString(result.Stdout) {
			return fmt.Errorf("the output does not match %s: %s", pattern, result.Stdout)
		}
		return nil
	})
	result.keep(ts)
}

// silent COMMAND… runs a command again and again until it prints nothing on standard error.
func (c *companions) silent(ts *testscript.TestScript, _ bool, args []string) {
	var result answer
	await(ts, 100*time.Millisecond, func() error {
		if result = c.execute(ts, args); result.Code != 0 || result.Stderr != "" {
			return fmt.Errorf("the exit code is %d: %s", result.Code, result.Stderr)
		}
		return nil
	})
	result.keep(ts)
}

// within DURATION COMMAND… is exits 2 of a command that ends within that time, at least once in five: a busy machine makes some slow, and
// one that waits for an answer of NATS takes longer each time.
func (c *companions) within(ts *testscript.TestScript, neg bool, args []string) {
	most, err := time.ParseDuration(args[0])
	ts.Check(err)
	var took time.Duration
	for range 5 {
		begun := time.Now()
		c.exits(ts, neg, append([]string{"2"}, args[1:]...))
		if took = time.Since(begun); took <= most {
			return
		}
	}
	ts.Fatalf("it took %s", took)
}
