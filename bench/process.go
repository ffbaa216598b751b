package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// process is a worker that runs as a process of its own, as users run it.
type process struct {
	cmd    *exec.Cmd
	http   string
	client *http.Client
	nc     *nats.Conn
	js     jetstream.JetStream
	log    string
}

// workerConfig is the configuration of a measured worker.
const workerConfig = `nats:
  url: %q
  namespace: %s
  embedded: {listen: "%s", store_dir: %q}
atlas:
  base_url: %s
  timeout: 5m
  accounts: [{name: bench, client_id: mdb_sa_id_be4c00000000000000000001, client_secret_file: %q}]
  %s
worker: {concurrency: %d}
http: {listen: "%s"}
search: {off: %t}
expiry: {every: 0s}
log: {level: warn}
`

// noProofs has a worker prove nothing: a job is one call then, as in what it is compared with.
const noProofs = "proof: {within: 0s}\n"

// namespace keeps the benchmark's streams apart on an external server.
const namespace = "rekey-bench"

// startWorker starts `BINARY run` in a folder, with an embedded server or, when url is not
// empty, with an external one, and waits until it is ready.
func startWorker(ctx context.Context, binary, dir, url, api string, concurrency int) (*process, error) {
	return startLimited(ctx, binary, dir, url, api, "", concurrency)
}

// startLimited is startWorker with a further line of the section atlas.
func startLimited(ctx context.Context, binary, dir, url, api, limits string, concurrency int) (*process, error) {
	return startSearching(ctx, binary, dir, url, api, limits, concurrency, true)
}

// startSearching is startLimited with the choice whether the worker answers searches, and with further sections.
func startSearching(ctx context.Context, binary, dir, url, api, limits string, concurrency int, search bool, more ...string) (*process, error) {
	natsAddress, httpAddress, err := freePorts(ctx)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "worker.yaml")
	secretFile := filepath.Join(dir, "secret")
	if err := os.WriteFile(secretFile, []byte("bench"), 0o600); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(workerConfig, url, namespace, natsAddress, filepath.Join(dir, "store"), api, secretFile, limits, concurrency, httpAddress, !search)
	if err := os.WriteFile(file, []byte(text+strings.Join(more, "")), 0o600); err != nil {
		return nil, err
	}
	p := &process{http: httpAddress, log: filepath.Join(dir, "worker.log"), client: &http.Client{Timeout: 5 * time.Second, CheckRedirect: stay}}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()                                           //nolint:errcheck // The child has its own handle.
	p.cmd = exec.CommandContext(ctx, binary, "run", "-c", file) //nolint:gosec // The worker that is measured.
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the worker: %w", err)
	}
	if url == "" {
		url = "nats://" + natsAddress
	}
	if err := p.connect(ctx, url); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// connect waits until the worker is ready and connects to its server.
func (p *process) connect(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("the worker is not ready after 30 s"))
	defer cancel()
	for !p.ready(ctx) {
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			said, _ := os.ReadFile(p.log) //nolint:errcheck // It only explains.
			return fmt.Errorf("%w; it said: %s", context.Cause(ctx), said)
		case <-timer.C:
		}
	}
	return p.dial(url)
}

// dial connects to a server.
func (p *process) dial(url string) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connecting to the worker's NATS: %w", err)
	}
	p.nc = nc
	p.js, err = jetstream.New(nc)
	return err
}

func (p *process) ready(ctx context.Context) bool {
	_, err := p.get(ctx, "/readyz")
	return err == nil
}

// metrics are those of the worker.
func (p *process) metrics(ctx context.Context) (string, error) { return p.get(ctx, "/metrics") }

// get returns what the worker answers on its HTTP address.
func (p *process) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.http+path, nil)
	if err != nil {
		return "", err
	}
	res, err := p.client.Do(req)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is answered with %s", path, res.Status)
	}
	return string(text), err
}

// rss is the memory of the process in bytes, or 0 where the system does not tell.
func (p *process) rss() int64 { return p.status("VmRSS") }

// status is a figure of the process in bytes, or 0 where the system does not tell.
func (p *process) status(name string) int64 { return memoryOf(p.cmd.Process.Pid, name) }

// memoryOf is a figure of a process's status (proc_pid_status(5)) in bytes, or 0 where the system does not tell.
func memoryOf(pid int, name string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

// stop ends the worker as an operator would, and waits for it.
func (p *process) stop() error {
	if p.nc != nil {
		p.nc.Close()
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping the worker: %w", err)
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the worker ended badly: %w", err)
	}
	return nil
}

// freePorts returns two addresses on the loopback interface that are free now. Both
// are held until both are known: asked one after the other, they may be the same.
func freePorts(ctx context.Context) (first, second string, err error) {
	var lc net.ListenConfig
	one, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", fmt.Errorf("looking for a free port: %w", err)
	}
	two, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", errors.Join(fmt.Errorf("looking for a free port: %w", err), one.Close())
	}
	return one.Addr().String(), two.Addr().String(), errors.Join(one.Close(), two.Close())
}

// serverStart bounds the start of a NATS server.
const serverStart = 30 * time.Second

// startServer starts a NATS server in this process with the durability of the worker's own: every write is synced. It
// listens on a free port of the loopback interface.
func startServer(store string) (*server.Server, error) { return startSyncing(store, true) }

// startSyncing is startServer with the choice whether every write is synced: what only fills a store need not wait for that.
func startSyncing(store string, sync bool) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: store, SyncAlways: sync, DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("creating a NATS server: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(serverStart) {
		stopServer(srv)
		return nil, errors.New("the NATS server takes no connections")
	}
	return srv, nil
}

func stopServer(srv *server.Server) {
	srv.Shutdown()
	srv.WaitForShutdown()
}
