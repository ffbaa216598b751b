package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"rekey/internal/app"
	"rekey/internal/config"
	"rekey/internal/memory"
	"rekey/internal/redact"
	"rekey/internal/terminal"
	"rekey/internal/wire"
)

// version is the release; the Makefile and the release build set it.
var version = ""

// buildVersion returns the release and the commit, as far as the binary knows them.
func buildVersion() (release, revision string) {
	release, revision = version, "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release, revision
	}
	if release == "" && info.Main.Version != "" && info.Main.Version != "(devel)" {
		release = info.Main.Version
	}
	if release == "" {
		release = "dev"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return release, revision
}

func (c *cli) runCommand() *cobra.Command {
	return c.withConfig(&cobra.Command{
		Use:   "run -c FILE",
		Short: "Run the worker",
		Long: `Run the worker until SIGTERM or SIGINT: it then takes no new work, lets calls in flight
finish within worker.drain_timeout and puts the rest back. A second signal ends it at once.

SIGHUP, or a change of FILE, makes it take over policies, the limits of intake, schedules,
atlas.accounts, retry and log.level; the log names the keys that need a restart. A file with mistakes
leaves everything as it is.`,
		Example: "  worker run -c configs/worker.yaml",
		Args:    want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.configName() == "" {
				return usagef("no configuration is given: -c FILE or $%s", envConfig)
			}
			cfg, err := c.config()
			if err != nil {
				return err
			}
			return memory.Within(cmd.Context(), c.lookupEnv, func() error { return c.runWorker(cmd.Context(), cfg) })
		},
	})
}

func (c *cli) runWorker(ctx context.Context, cfg *config.Config) error {
	known := wire.KnownSecrets(cfg, c.lookupEnv)
	log, level := c.logger(cfg.Log, known)
	defer log.Sync() //nolint:errcheck // A terminal cannot be synced and says so.
	// From here on, SIGHUP asks for a reload. Several that come at once are one.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	release, revision := buildVersion()
	return app.Run(ctx, app.Options{
		Config: cfg, Name: wire.WorkerName(cfg, host, os.Getpid(), time.Now()), Version: release, Revision: revision,
		LookupEnv: c.lookupEnv, Logger: log, Known: known,
		Reload: app.Reload{File: c.configName(), Asked: hangups, Level: level},
	})
}

// discreetWriter takes secrets out of each line on its way.
type discreetWriter struct {
	to    io.Writer
	known *redact.Known
}

// Write writes one line of the log. What is put in the place of a secret can stand in JSON.
func (w discreetWriter) Write(line []byte) (int, error) {
	if _, err := io.WriteString(w.to, w.known.HideSeen(string(line))); err != nil {
		return 0, err
	}
	return len(line), nil
}

// logger writes to standard error in the form and from the level that the configuration says. The level can be changed. None
// of the known secrets is written, nor what has the look of one.
func (c *cli) logger(cfg config.Log, known *redact.Known) (*zap.Logger, zap.AtomicLevel) {
	parsed, err := zapcore.ParseLevel(cfg.Level)
	if err != nil {
		parsed = zapcore.InfoLevel // The configuration is validated; this is for an empty one.
	}
	level := zap.NewAtomicLevelAt(parsed)
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.SecondsDurationEncoder // Numbers, so that they can be compared.
	encoder := zapcore.NewJSONEncoder(encoding)
	if cfg.Format == "console" {
		encoding.EncodeDuration = zapcore.StringDurationEncoder
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(discreetWriter{c.stderr, known})), level)), level
}

func (c *cli) versionCommand() *cobra.Command {
	return c.withOutput(&cobra.Command{
		Use: "version", Short: "Show the version", Example: "  worker version -o json", Args: want(),
		RunE: func(*cobra.Command, []string) error { return c.showVersion() },
	})
}

// versionInfo is what `worker version` shows.
type versionInfo struct {
	Version   string `json:"version"`
	Revision  string `json:"revision"`
	GoVersion string `json:"go_version"`
}

func (c *cli) showVersion() error {
	release, revision := buildVersion()
	info := versionInfo{Version: release, Revision: revision, GoVersion: runtime.Version()}
	return c.print(info, func(t *terminal.Table) {
		t.Row("rekey", info.Version)
		t.Row("revision", info.Revision)
		t.Row("go", info.GoVersion)
	})
}
