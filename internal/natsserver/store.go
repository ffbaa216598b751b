package natsserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"rekey/internal/backoff"
	"rekey/internal/quiet"
)

// roomToStart is how many bytes must fit into the store before a server whose disk was full is
// started again: some hundred jobs.
const roomToStart = 1 << 20

// Pauses of Server.Run.
const (
	storeLook    = time.Second     // Between two looks at whether the server can write.
	restartPause = 5 * time.Second // Between two starts of a server that cannot write.
)

// errNoServer says that the server does not run.
var errNoServer = errors.New("the embedded NATS server is not running")

// Run watches whether the server can write to its store, until ctx ends. A server that failed
// to write once does not write any more until it is started again, whatever becomes of the
// disk. So it is stopped, which publishers notice at once, and started again when there is free space.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(storeLook)
	defer ticker.Stop()
	for {
		if err := s.Ready(); err != nil {
			s.restart(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Ready reports, as an error, that the server cannot write to its store, and why.
func (s *Server) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil && s.log.unwritable.get() != "" {
		s.failed = errors.New(s.log.unwritable.get())
	}
	if s.failed == nil {
		return nil
	}
	return fmt.Errorf("the embedded NATS server cannot write to %s: %w", s.cfg.StoreDir, s.failed)
}

// restart stops a server that cannot write and starts it again as soon as its store takes
// something. It returns when that is done or ctx ends.
func (s *Server) restart(ctx context.Context, why error) {
	log := s.cfg.Logger.Named("nats-server")
	log.Error("the embedded NATS server is stopped; it is started again when it can write", zap.Error(why))
	if s.cfg.OnFailure != nil {
		s.cfg.OnFailure()
	}
	s.stopServer()
	var failures quiet.Failures
	for {
		if backoff.Sleep(ctx, restartPause) != nil {
			return
		}
		if err := probe(s.cfg.StoreDir); err != nil {
			log.Debug("the store takes nothing yet", zap.Error(err))
			continue
		}
		if err := s.start(); err != nil {
			failures.Warn(log, "starting the embedded NATS server again", err)
			continue
		}
		log.Info("the embedded NATS server is started again")
		return
	}
}

// probe writes and syncs a file in dir and takes it away again.
func probe(dir string) (err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, "room-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	if _, err := file.Write(bytes.Repeat([]byte{'.'}, roomToStart)); err != nil {
		return err
	}
	return file.Sync()
}

// isFull recognises a start that failed because the disk is full.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}

// isWriteError recognises the server's lines about a store that it will not write to any more.
func isWriteError(line string) bool { return writeErrors.MatchString(line) }

// writeErrors are those lines. What clients send, and what they call themselves, must not stop the
// server: it is in other lines, or in quotes.
var writeErrors = regexp.MustCompile(`^(?:` +
	`[A-Z][^"]*: no space left on device(?: \([0-9]+\))?$` +
	`|Filestore \[[^\]]*\] (?:Critical write error|File system permission denied)` +
	`|JetStream (?:stream|consumer) '[^']*' critical write error: ` +
	`|JetStream out of [A-Za-z ]+, will be DISABLED$` +
	`|File ?system permission denied while writing` +
	`)`)
