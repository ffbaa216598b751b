package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"rekey/internal/metrics"
)

func TestSecretExpiries(t *testing.T) {
	const name = "rekey_account_secret_expires_timestamp_seconds"
	const head = "# HELP " + name + " Unix time at which the secret of an account expires, in seconds, as the API says, or else the configuration; 0 when neither does.\n" +
		"# TYPE " + name + " gauge\n"
	registry := prometheus.NewRegistry()
	m, err := metrics.New(metrics.Config{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		accounts map[string]time.Time
		want     string
	}{
		{"known and not", map[string]time.Time{"a": time.Unix(1e9, 0), "b": {}}, name + "{account=\"a\"} 1e+09\n" + name + "{account=\"b\"} 0\n"},
		{"one has gone", map[string]time.Time{"b": time.Unix(2e9, 0)}, name + "{account=\"b\"} 2e+09\n"},
		{"no account", nil, name + "{account=\"\"} 0\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.SetSecretExpiries(c.accounts)
			if err := testutil.GatherAndCompare(registry, strings.NewReader(head+c.want), name); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWatchedExpiries(t *testing.T) {
	const name = "rekey_watched_expires_timestamp_seconds"
	registry := prometheus.NewRegistry()
	m, err := metrics.New(metrics.Config{Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []map[string]time.Time{{"a": time.Unix(1e9, 0), "b": {}}, {"b": time.Unix(2e9, 0)}, nil} {
		m.SetWatchedExpiries(want)
		if n, err := testutil.GatherAndCount(registry, name); err != nil || n != max(len(want), 1) {
			t.Errorf("%d series, %v, want those of %v", n, err, want)
		}
	}
}
