package apptest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"rekey/internal/app"
	"rekey/internal/apptest/testmain"
	"rekey/internal/config"
)

// What the test binary is with one of these as its only argument but the settings.
const (
	workerToKill = "worker-to-kill" // A worker.
	ServerToKill = "server-to-kill" // A NATS server.
)

// Sized is how much a test does by default, or with the build tag large, which makes the tests
// that kill processes do so more often and under more work than a change has to wait for.
func Sized(normal, many int) int {
	if large {
		return many
	}
	return normal
}

// Main runs the tests of a package, or a process that a test kills.
func Main(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == workerToKill {
		must(runWorkerToKill(os.Args[2]))
		return
	}
	if len(os.Args) == 3 && os.Args[1] == ServerToKill {
		must(runServerToKill(os.Args[2]))
		return
	}
	testmain.Of(m).Run()
}

// must ends a process with a trace, which its parent shows.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// workerSettings are what a worker in a process of its own gets.
type workerSettings struct {
	Name             string
	Named            bool   // Its name is given by the configuration.
	URL              string // Of an external server; empty for an embedded one.
	Replicas         int
	Listen, StoreDir string // Of an embedded server.
	API              string
	Client, Secret   string        // Of its service account.
	Within           time.Duration // Of proofs.
	Timeout          time.Duration
	Concurrency      int
	Ready            string // A file that it writes when it takes events: how its server is reached.
	Rotations        []config.Rotation
	Log              string // A file to which its log is written; empty: nowhere.
}

// runWorkerToKill runs a worker until the process is killed.
func runWorkerToKill(settings string) error {
	var s workerSettings
	if err := json.Unmarshal([]byte(settings), &s); err != nil {
		return err
	}
	r := &Rig{Name: s.Name, log: zap.NewNop(), ClientSecret: s.Secret}
	if s.Log != "" {
		cfg := zap.NewDevelopmentConfig()
		cfg.OutputPaths = []string{s.Log}
		r.log = zap.Must(cfg.Build())
	}
	r.configure(s.StoreDir, s.API)
	r.Cfg.Rotations = s.Rotations
	if s.Named {
		r.Cfg.Worker.Name = s.Name
	}
	r.Cfg.NATS.URL, r.Cfg.NATS.Replicas, r.Cfg.NATS.Embedded.Listen = s.URL, s.Replicas, s.Listen
	r.Cfg.Atlas.Timeout, r.Cfg.Worker.Concurrency, r.Cfg.Proof.Within = s.Timeout, s.Concurrency, s.Within
	r.Cfg.Atlas.Accounts[0].ClientID = s.Client
	// The parent must not read a half-written address.
	tell := func(a app.Addresses) {
		half := s.Ready + ".half"
		must(errors.Join(os.WriteFile(half, []byte(a.NATS), 0o600), os.Rename(half, s.Ready)))
	}
	return app.Run(context.Background(), r.options(tell))
}

// ServerSettings are what a NATS server in a process of its own gets.
type ServerSettings struct {
	Name, StoreDir  string
	Client, Cluster int   // Ports.
	Routes          []int // Ports of the servers of the cluster.
}

// runServerToKill runs a NATS server until the process is killed.
func runServerToKill(settings string) error {
	var s ServerSettings
	if err := json.Unmarshal([]byte(settings), &s); err != nil {
		return err
	}
	opts := &server.Options{
		ServerName: s.Name, Host: "127.0.0.1", Port: s.Client, NoLog: true, JetStream: true, StoreDir: s.StoreDir,
		Cluster: server.ClusterOpts{Name: "rekey", Host: "127.0.0.1", Port: s.Cluster},
	}
	for _, port := range s.Routes {
		opts.Routes = append(opts.Routes, server.RoutesFromStr("nats://"+Localhost(port))...)
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	srv.Start()
	srv.WaitForShutdown()
	return errors.New("the server has ended by itself")
}

// Child is a process that a test kills.
type Child struct {
	t   *testing.T
	cmd *exec.Cmd
}

// StartChild starts the test binary as something else.
func StartChild(t *testing.T, role string, settings any) *Child {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, role, Encoded(settings))
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &Child{t: t, cmd: cmd}
	t.Cleanup(c.Kill)
	return c
}

// Kill ends the process as a crash does. It may be called again.
func (c *Child) Kill() {
	if c.cmd.ProcessState != nil {
		return
	}
	// Its own end would be one more failure, and is reported by Wait.
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// Pause stops the process until the returned function is called.
func (c *Child) Pause() (resume func()) {
	c.t.Helper()
	c.signal(syscall.SIGSTOP)
	// Its threads stop one after the other: until the last one has, it may still do something.
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(c.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		c.t.Fatalf("the process does not stop: %v, status %v", err, status)
	}
	return func() { c.signal(syscall.SIGCONT) }
}

func (c *Child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// StartToKill starts the rig's worker in a process of its own, waits until it takes events and
// returns how its embedded server is reached.
func (r *Rig) StartToKill(t *testing.T) (c *Child, url string) {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	c = StartChild(t, workerToKill, workerSettings{
		Name: r.Name, Named: r.Cfg.Worker.Name != "", URL: r.Cfg.NATS.URL, Replicas: r.Cfg.NATS.Replicas, Listen: r.Cfg.NATS.Embedded.Listen,
		StoreDir: r.Cfg.NATS.Embedded.StoreDir, API: r.Cfg.Atlas.BaseURL, Client: r.Cfg.Atlas.Accounts[0].ClientID, Secret: r.Env["SECURITY_SECRET"], Within: r.Cfg.Proof.Within,
		Timeout: r.Cfg.Atlas.Timeout, Concurrency: r.Cfg.Worker.Concurrency, Ready: ready, Rotations: r.Cfg.Rotations, Log: r.LogFile,
	})
	Eventually(t, "the worker in another process", func() bool {
		address, err := os.ReadFile(ready)
		url = string(address)
		return err == nil
	})
	return c, url
}
