package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// How often the peers look for work, as often as their documents allow or, for asynq, without filling its queue of commands.
const (
	asynqLook = 5 * time.Millisecond // asynq.Config.TaskCheckInterval, 1 s by default.
	riverLook = time.Millisecond     // river.Config.FetchCooldown, 100 ms by default; the database notifies it of new jobs.
	keepEnds  = 24 * time.Hour       // asynq deletes them at once by default, River keeps them so long.
)

const asynqType = "x509.disable"

// startRedis starts a server that syncs each command, and returns its address.
func (cfg PeersConfig) startRedis(ctx context.Context, dir string) (*exec.Cmd, string, error) {
	address, _, err := freePorts(ctx)
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	store := exec.CommandContext(ctx, cfg.Redis, "--bind", "127.0.0.1", "--port", port, "--dir", dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "") //nolint:gosec // The store that is measured.
	err = store.Start()
	return store, address, err
}

// startAsynq is asynq on Redis.
func (cfg PeersConfig) startAsynq(ctx context.Context, dir string, a *api) (*atWork, error) {
	store, address, err := cfg.startRedis(ctx, dir)
	if err != nil {
		return nil, err
	}
	redis := asynq.RedisClientOpt{Addr: address}
	client, inspector := asynq.NewClient(redis), asynq.NewInspector(redis)
	if err := awaitStore(ctx, client.Ping); err != nil {
		return nil, errors.Join(err, endStore(store))
	}
	worker, err := cfg.startPeer(ctx, "asynq", address, a)
	if err != nil {
		return nil, errors.Join(err, endStore(store))
	}
	return &atWork{
		put: func(ctx context.Context, project string) error {
			_, err := client.EnqueueContext(ctx, asynq.NewTask(asynqType, []byte(project)), asynq.Retention(keepEnds))
			return err
		},
		ended: func(context.Context) (int, error) {
			queues, err := inspector.Queues()
			if err != nil || len(queues) == 0 { // Before the first job there is none.
				return 0, err
			}
			info, err := inspector.GetQueueInfo(queues[0])
			if err != nil {
				return 0, err
			}
			return info.Completed, nil
		},
		worker: worker.cmd.Process.Pid, store: store.Process.Pid,
		stop: func() error {
			return errors.Join(worker.stop(), client.Close(), inspector.Close(), endStore(store))
		},
	}, nil
}

// runAsynq is asynq's worker.
func runAsynq(_ context.Context, store string, c *caller, slots int) (func() error, error) {
	server := asynq.NewServer(asynq.RedisClientOpt{Addr: store}, asynq.Config{Concurrency: slots, TaskCheckInterval: asynqLook, LogLevel: asynq.ErrorLevel})
	err := server.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error { return c.call(ctx, string(task.Payload())) }))
	return func() error { server.Shutdown(); return nil }, err
}

// riverJob is a job of River.
type riverJob struct {
	Project string `json:"project"`
}

// Kind names it.
func (riverJob) Kind() string { return asynqType }

// riverWorker makes its call.
type riverWorker struct {
	river.WorkerDefaults[riverJob]
	caller *caller
}

// Work is called once for each attempt.
func (w *riverWorker) Work(ctx context.Context, job *river.Job[riverJob]) error {
	return w.caller.call(ctx, job.Args.Project)
}

// runRiver is River's worker.
func runRiver(ctx context.Context, store string, c *caller, slots int) (func() error, error) {
	pool, err := pgxpool.New(ctx, store)
	if err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &riverWorker{caller: c})
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: slots}}, Workers: workers, FetchCooldown: riverLook,
	})
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	return func() error { defer pool.Close(); return client.Stop(ctx) }, client.Start(ctx)
}

// startRiver is River on a PostgreSQL with its defaults, which sync each commit.
func (cfg PeersConfig) startRiver(ctx context.Context, dir string, a *api) (*atWork, error) {
	store, url, err := cfg.startPostgres(ctx, dir)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, errors.Join(err, endStore(store))
	}
	inserter, worker, err := cfg.migrateRiver(ctx, pool, url, a)
	if err != nil {
		pool.Close()
		return nil, errors.Join(err, endStore(store))
	}
	return &atWork{
		put: func(ctx context.Context, project string) error {
			_, err := inserter.Insert(ctx, riverJob{project}, nil)
			return err
		},
		ended: func(ctx context.Context) (n int, err error) {
			err = pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE state = 'completed'").Scan(&n)
			return n, err
		},
		worker: worker.cmd.Process.Pid, store: store.Process.Pid,
		stop: func() error {
			err := worker.stop()
			pool.Close()
			return errors.Join(err, endStore(store))
		},
	}, nil
}

// migrateRiver makes River's tables, and starts its worker.
func (cfg PeersConfig) migrateRiver(ctx context.Context, pool *pgxpool.Pool, url string, a *api) (*river.Client[pgx.Tx], *serving, error) {
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return nil, nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, nil, err
	}
	inserter, err := river.NewClient(driver, &river.Config{FetchCooldown: riverLook}) // So often it notifies of new jobs, too.
	if err != nil {
		return nil, nil, err
	}
	worker, err := cfg.startPeer(ctx, "river", url, a)
	return inserter, worker, err
}

// startPostgres starts a server in a folder of its own. It refuses to run as root: then it runs as the user postgres.
func (cfg PeersConfig) startPostgres(ctx context.Context, dir string) (*exec.Cmd, string, error) {
	as, err := notRoot(dir)
	if err != nil {
		return nil, "", err
	}
	address, _, err := freePorts(ctx)
	if err != nil {
		return nil, "", err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", err
	}
	data := filepath.Join(dir, "postgres")
	initialize := exec.CommandContext(ctx, filepath.Join(cfg.Postgres, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C") //nolint:gosec // The store that is measured.
	initialize.SysProcAttr, initialize.Dir = as, dir
	if said, err := initialize.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("initdb: %w: %s", err, said)
	}
	store := exec.CommandContext(ctx, filepath.Join(cfg.Postgres, "postgres"), "-D", data, "-p", port, "-k", dir, "-c", "listen_addresses=127.0.0.1") //nolint:gosec // The store that is measured.
	store.SysProcAttr, store.Dir = as, dir
	if err := store.Start(); err != nil {
		return nil, "", err
	}
	url := "postgres://postgres@" + address + "/postgres?sslmode=disable"
	err = awaitStore(ctx, func() error {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
	if err != nil {
		return nil, "", errors.Join(err, endStore(store))
	}
	return store, url, nil
}

// notRoot gives a folder to the user postgres where this process is root's, and returns how to run as that one.
func notRoot(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return nil, nil //nolint:nilnil // Nothing is to be changed.
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, uidErr := strconv.ParseUint(who.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(who.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr, os.Chown(dir, int(uid), int(gid))); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// awaitStore waits until a store answers, 30 s at most.
func awaitStore(ctx context.Context, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, serverStart)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("the store does not answer: %w", err)
		}
	}
}

// endStore ends a store, which has nothing to keep.
func endStore(store *exec.Cmd) error {
	if err := store.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	err := store.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil // How it ends is its own matter.
	}
	return err
}
