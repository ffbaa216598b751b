package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rekey/internal/atlas/sandbox"
	"rekey/internal/demo"
)

func (c *cli) sandboxCommand() *cobra.Command {
	var listen string
	var faults, buckets []string
	var times sandbox.Config
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve a stand-in for the Atlas API",
		Long: `Serve a stand-in for the Atlas API until interrupted, to try a configuration without touching
Atlas. Its secrets come from $` + demo.EnvClientSecret + ` and $` + demo.EnvPrivateKey + `
where they are set; else it makes them up and prints them.

Faults make it misbehave: OPERATION:KIND and fields. OPERATION is token, a kind of job or any;
KIND is a status, reset, reset_after, slow, html, cut, endless or redirect; the fields are
retry_after, delay, times, status and error_code. They can also be set while it runs:
POST /sandbox/faults, DELETE /sandbox/faults; GET /sandbox/requests and /sandbox/state show
what came and what is left.

Faults can also make it lie: it answers success, and pretend does nothing; lag does it after
delay; restore has another account put it back after delay, a role mapping or identity provider
under another id; unlogged leaves out the events of Atlas's own log; late_restart has clusters
begin their restart later by delay; foreign answers 403 to a live account or token, as from a
wrong network. The field account limits a lie to the calls of one account.

Its rate limits are those that the vendor publishes. A bucket, NAME=CAPACITY/REFILL/PERIOD, is
another one for an endpoint set: ` + strings.Join(slices.Sorted(maps.Keys(sandbox.DefaultBuckets())), ", ") + `.`,
		Example: `  worker sandbox --listen 127.0.0.1:8474
  worker sandbox --bucket x509Authentication_group=10/5/1m
  worker sandbox --fault ` + sandbox.DemoRateLimited + `:429:retry_after=2:times=1 --fault any:slow:delay=1s
  worker sandbox --fault ` + sandbox.OperationRoleMappingDelete + `:restore:delay=15s --restart-for 20s`,
		Args: want(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.serveSandbox(cmd.Context(), listen, times, faults, buckets)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8474", "`ADDRESS` to listen on")
	cmd.Flags().StringArrayVar(&faults, "fault", nil, "`FAULT` to begin with; may be repeated")
	cmd.Flags().StringArrayVar(&buckets, "bucket", nil, "`BUCKET` of an endpoint set; may be repeated")
	flags := cmd.Flags()
	flags.DurationVar(&times.RestartAfter, "restart-after", sandbox.DefaultRestartAfter, "`TIME` from a change of X.509 to the restart of clusters")
	flags.DurationVar(&times.RestartFor, "restart-for", sandbox.DefaultRestartFor, "`TIME` that a restart takes")
	flags.DurationVar(&times.ApplyFor, "apply-for", sandbox.DefaultApplyFor, "`TIME` in which clusters apply a change of a database user")
	return cmd
}

func (c *cli) serveSandbox(ctx context.Context, listen string, cfg sandbox.Config, texts, bucketTexts []string) error {
	faults, err := parseFaults(texts)
	if err != nil {
		return usage(err)
	}
	if cfg.Buckets, err = parseBuckets(bucketTexts); err != nil {
		return usage(err)
	}
	box, made, err := demo.NewSandbox(cfg, c.lookupEnv)
	if err != nil {
		return err
	}
	if err := box.Inject(faults...); err != nil {
		return usage(err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", listen, err)
	}
	fmt.Fprintf(c.stdout, "sandbox: listening on http://%s\n", listener.Addr())
	if err := c.printSandbox(box, made); err != nil {
		return err
	}
	return box.Serve(ctx, listener)
}

func parseFaults(texts []string) ([]sandbox.Fault, error) {
	var faults []sandbox.Fault
	for _, text := range texts {
		f, err := sandbox.ParseFault(text)
		if err != nil {
			return nil, err
		}
		faults = append(faults, f)
	}
	return faults, nil
}

// parseBuckets reads buckets as --bucket takes them.
func parseBuckets(texts []string) (map[string]sandbox.Bucket, error) {
	buckets := map[string]sandbox.Bucket{}
	for _, text := range texts {
		name, numbers, _ := strings.Cut(text, "=")
		if _, known := sandbox.DefaultBuckets()[name]; !known {
			return nil, fmt.Errorf("--bucket: there is no endpoint set %.40q", name)
		}
		parts := strings.Split(numbers, "/")
		if len(parts) != 3 {
			return nil, fmt.Errorf("--bucket: %s must be CAPACITY/REFILL/PERIOD, such as 10/5/1m", name)
		}
		capacity, capacityErr := strconv.Atoi(parts[0])
		refill, refillErr := strconv.Atoi(parts[1])
		every, everyErr := time.ParseDuration(parts[2])
		if capacityErr != nil || refillErr != nil || everyErr != nil || capacity < 1 || refill < 1 || every <= 0 {
			return nil, fmt.Errorf("--bucket: %s must be CAPACITY/REFILL/PERIOD, such as 10/5/1m", name)
		}
		buckets[name] = sandbox.Bucket{Capacity: capacity, Refill: refill, Every: every}
	}
	return buckets, nil
}

// printSandbox shows what can be tried.
func (c *cli) printSandbox(box *sandbox.Sandbox, made map[string]string) error {
	for _, variable := range slices.Sorted(maps.Keys(made)) {
		if value, ok := box.Secret(made[variable]); ok {
			fmt.Fprintf(c.stdout, "export %s=%s\n", variable, value)
		}
	}
	t := c.table(c.stdout)
	t.Row("service account", sandbox.ClientID)
	t.Row("API key", sandbox.PublicKey)
	for _, e := range sandbox.Examples() {
		t.Row(e[0], e[1])
	}
	return t.Flush()
}
