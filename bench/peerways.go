package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
)

// ways are all whose stores are there.
func (cfg PeersConfig) ways() []peerWay {
	all := []peerWay{
		{"floor, NATS", func(ctx context.Context, dir string, a *api) (*atWork, error) { return cfg.startBare(ctx, dir, a, nil) }},
		{"Rekey's writes alone, NATS", cfg.bareWay(rekeysWrites)},
		{"the same without the target, NATS", cfg.bareWay(withoutTarget)},
		{"the same without target and outcome, NATS", cfg.bareWay(withoutOutcome)},
		{"Rekey, NATS", cfg.startRekey},
	}
	for _, peer := range []struct {
		peerWay
		store string
	}{{peerWay{"asynq, Redis", cfg.startAsynq}, cfg.Redis}, {peerWay{"River, PostgreSQL", cfg.startRiver}, cfg.Postgres}} {
		if peer.store == "" {
			cfg.Progress(peer.name + " is left out: its store is not installed")
			continue
		}
		all = append(all, peer.peerWay)
	}
	return all
}

// bareWrites makes what a bare consumer stores into, and says what it stores before and after each call.
type bareWrites func(ctx context.Context, js jetstream.JetStream) (before, after []write, err error)

// bareWay is a bare consumer that stores this for each job.
func (cfg PeersConfig) bareWay(writes bareWrites) func(ctx context.Context, dir string, a *api) (*atWork, error) {
	return func(ctx context.Context, dir string, a *api) (*atWork, error) {
		return cfg.startBare(ctx, dir, a, writes)
	}
}

// startBare is a bare consumer in this process. writes: nil, nothing but the message is stored.
func (cfg PeersConfig) startBare(ctx context.Context, dir string, a *api, writes bareWrites) (*atWork, error) {
	srv, err := startServing(ctx, filepath.Join(dir, "nats"))
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(srv.url)
	if err != nil {
		return nil, errors.Join(err, srv.stop())
	}
	f, failed, stop, err := cfg.consumeBare(ctx, nc, a, writes)
	if err != nil {
		nc.Close()
		return nil, errors.Join(err, srv.stop())
	}
	return &atWork{
		put: func(ctx context.Context, project string) error {
			_, err := f.js.Publish(ctx, floorSubject, []byte(project))
			return err
		},
		ended: func(ctx context.Context) (int, error) {
			if err := failed(); err != nil {
				return 0, err
			}
			return f.ended(ctx)
		},
		store: srv.cmd.Process.Pid,
		stop: func() error {
			stop()
			nc.Close()
			return srv.stop()
		},
	}, nil
}

// consumeBare consumes the floor's queue until stop is called; failed says why it does not any more.
func (cfg PeersConfig) consumeBare(ctx context.Context, nc *nats.Conn, a *api, writes bareWrites) (f *floor, failed func() error, stop func(), err error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, nil, nil, err
	}
	f = newFloor(js, a, cfg.Concurrency)
	if writes != nil {
		if f.before, f.after, err = writes(ctx, js); err != nil {
			return nil, nil, nil, err
		}
	}
	cons, err := f.queue(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	consuming, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		cancel(f.consume(consuming, cons, 1<<30, cfg.Concurrency))
	}()
	return f, func() error { return context.Cause(consuming) }, func() { cancel(nil); <-over }, nil
}

// rekeysWrites are as many messages, of about the same size, as Rekey stores for a job at once in a slot, with the event: its target and
// its started record before the call, its outcome and its result after it.
func rekeysWrites(ctx context.Context, js jetstream.JetStream) (before, after []write, err error) {
	targets, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "REKEY_BENCH_TARGETS"})
	if err != nil {
		return nil, nil, fmt.Errorf("creating the bucket of targets: %w", err)
	}
	ledger, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "REKEY_BENCH_LEDGER"})
	if err != nil {
		return nil, nil, fmt.Errorf("creating the bucket of records: %w", err)
	}
	const results = "REKEY_BENCH_RESULTS"
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: results, Subjects: []string{"rekey-bench-result.*"}}); err != nil {
		return nil, nil, fmt.Errorf("creating the stream of results: %w", err)
	}
	record := bytes.Repeat([]byte("r"), 1024)
	claim := func(ctx context.Context, project string) error {
		_, err := targets.Create(ctx, project, record[:64])
		return err
	}
	started := func(ctx context.Context, project string) error {
		_, err := ledger.Create(ctx, project, record)
		return err
	}
	outcome := func(ctx context.Context, project string) error {
		_, err := ledger.Put(ctx, project, record)
		return err
	}
	result := func(ctx context.Context, project string) error {
		_, err := js.Publish(ctx, "rekey-bench-result."+project, record)
		return err
	}
	return []write{claim, started}, []write{outcome, result}, nil
}

// withoutTarget are one message fewer: what a layout could do in which one message says who has the target and that the job is started.
func withoutTarget(ctx context.Context, js jetstream.JetStream) (before, after []write, err error) {
	before, after, err = rekeysWrites(ctx, js)
	if err != nil {
		return nil, nil, err
	}
	return before[1:], after, nil
}

// withoutOutcome are two fewer: what a layout could do in which the result is the outcome's only record, too.
func withoutOutcome(ctx context.Context, js jetstream.JetStream) (before, after []write, err error) {
	before, after, err = withoutTarget(ctx, js)
	if err != nil {
		return nil, nil, err
	}
	return before, after[1:], nil
}

// startRekey is the worker that is measured.
func (cfg PeersConfig) startRekey(ctx context.Context, dir string, a *api) (*atWork, error) {
	srv, err := startServing(ctx, filepath.Join(dir, "nats"))
	if err != nil {
		return nil, err
	}
	p, err := startSearching(ctx, cfg.Binary, dir, srv.url, a.url, "", cfg.Concurrency, false, noProofs)
	if err != nil {
		return nil, errors.Join(err, srv.stop())
	}
	return &atWork{
		put: func(ctx context.Context, project string) error {
			_, err := p.js.Publish(ctx, eventSubject, request(project, "normal"))
			return err
		},
		ended: func(ctx context.Context) (int, error) {
			stream, err := p.js.Stream(ctx, "REKEY-BENCH_RESULTS")
			if err != nil {
				return 0, err
			}
			return int(stream.CachedInfo().State.Msgs), nil
		},
		worker: p.cmd.Process.Pid, store: srv.cmd.Process.Pid,
		stop: func() error { return errors.Join(p.stop(), srv.stop()) },
	}, nil
}

// peerCommand is the hidden command that is the worker of a peer: WAY, the address of its store, the URL of the API, and how many jobs
// at once. It prints a line when it is at work, and ends with its standard input.
const peerCommand = "peer"

func (b *bench) peerCommand() *cobra.Command {
	return &cobra.Command{
		Use: peerCommand + " WAY STORE API N", Hidden: true, Args: cobra.ExactArgs(4),
		RunE: func(cmd *cobra.Command, args []string) error {
			slots, err := strconv.Atoi(args[3])
			if err != nil {
				return err
			}
			run := map[string]func(ctx context.Context, store string, c *caller, slots int) (stop func() error, err error){"asynq": runAsynq, "river": runRiver}[args[0]]
			stop, err := run(cmd.Context(), args[1], newCaller(args[2], slots), slots)
			if err != nil {
				return err
			}
			fmt.Fprintln(b.stdout, "at work")
			_, err = io.Copy(io.Discard, cmd.InOrStdin())
			return errors.Join(err, stop())
		},
	}
}

// startPeer starts this program as the worker of a peer.
func (cfg PeersConfig) startPeer(ctx context.Context, name, store string, a *api) (*serving, error) {
	s, _, err := startItself(ctx, peerCommand, name, store, a.url, strconv.Itoa(cfg.Concurrency))
	if err != nil {
		return nil, fmt.Errorf("starting the worker of %s: %w", name, err)
	}
	return s, nil
}

// caller makes the call of a job, as Rekey and the floor do.
type caller struct {
	url    string
	client *http.Client
}

func newCaller(url string, slots int) *caller {
	return &caller{url, &http.Client{Transport: &http.Transport{MaxIdleConns: slots, MaxIdleConnsPerHost: slots}, CheckRedirect: stay}}
}

func (c *caller) call(ctx context.Context, project string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, c.url+callPath(project), nil)
	if err != nil {
		return err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	if err = errors.Join(err, res.Body.Close()); err == nil && res.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("the API answers %s", res.Status)
	}
	return err
}

// found is the path of a program, "" where there is none.
func found(program string) string {
	path, err := exec.LookPath(program)
	if err != nil {
		return ""
	}
	return path
}

// treeCPU is the processor time of a process and its children in milliseconds.
func treeCPU(pid int) float64 {
	all := cpuMS(pid)
	children, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return all
	}
	for _, file := range children {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // It has ended.
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if words := strings.Fields(rest); len(words) > 1 && words[1] == strconv.Itoa(pid) {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err == nil {
				all += cpuMS(child)
			}
		}
	}
	return all
}
