package intake_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"

	"rekey/internal/apptest"
	"rekey/internal/fleet"
	"rekey/internal/jobs"
	"rekey/internal/kinds"
	"rekey/internal/leaks"
	"rekey/internal/seal"
	"rekey/internal/secret"
)

// breaking is a Client whose run is interrupted: after so many requests, or looks at what came of them.
type breaking struct {
	*fleet.Client
	submits, looks int
	interrupt      context.CancelFunc
}

func (b *breaking) Submit(ctx context.Context, source, id string, request map[string]any) (fleet.Submitted, error) {
	if b.submits--; b.submits == 0 {
		b.interrupt()
	}
	return b.Client.Submit(ctx, source, id, request)
}

func (b *breaking) AwaitMany(ctx context.Context, list []fleet.Wait, after uint64, changed func(int, jobs.PublicRecord, error), round func()) error {
	return b.Client.AwaitMany(ctx, list, after, func(at int, r jobs.PublicRecord, err error) {
		if b.looks--; b.looks == 0 {
			b.interrupt()
		}
		changed(at, r, err)
	}, round)
}

// mixed is a list of values of several kinds, some of them twice, by what comes of them.
type mixed struct {
	tokens, users, others []string
	text                  strings.Builder
}

func newMixed(n int) *mixed {
	m := &mixed{}
	for i := range n {
		token, user, other := jwt(), fmt.Sprintf("user-%d", i), "ghp_"+strings.Repeat("0", 10)+rand.Text()
		m.tokens, m.others = append(m.tokens, token), append(m.others, other)
		fmt.Fprintf(&m.text, "%s\n\n%s\n", token, other)
		if i%4 == 0 {
			m.users = append(m.users, user)
			fmt.Fprintf(&m.text, "mongodb+srv://%s:%s@cluster0.abcde.mongodb.net/?retryWrites=true\n%s\n", user, apptest.Canary(), token)
		}
	}
	return m
}

// TestLeaksOfAListAreContainedOnce: a list of some hundred values that is interrupted while it is handed over, and once more while it is
// waited for, ends with each of them done once; a repeat after that does nothing.
func TestLeaksOfAListAreContainedOnce(t *testing.T) {
	t.Parallel()
	rig, atlas := apptest.StandInRig(t)
	atlas.Script("/databaseUsers/", apptest.JSONReply(200, `{}`).Always())
	w := rig.Start(t)
	m := newMixed(120)
	list, err := leaks.Read([]byte(m.text.String()))
	if err != nil || len(list) != len(m.tokens)+len(m.users)+len(m.others) {
		t.Fatalf("%d values: %v", len(list), err)
	}
	key, public := secret.New(rand.Text()), rig.SealingKey(t)
	run := func(submits, looks int) ([]leaks.Row, error) {
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		return leaks.Run(ctx, leaks.Config{
			Client: &breaking{w.Operator(), submits, looks, interrupt}, Source: "rekey/operator", Kind: kinds.Containing(),
			Account: apptest.Security, Hints: map[string]string{"project_id": apptest.HexID(7)},
			Seal: func(v secret.Value) (string, error) { return seal.Seal(public, v) },
			Sums: func(text string) ([]string, error) {
				sum, err := seal.Sum(key, "leaks", text)
				return []string{sum}, err
			},
		}, list)
	}
	if _, err := run(100, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("the first run: %v", err)
	}
	if _, err := run(0, 150); !errors.Is(err, context.Canceled) {
		t.Errorf("the second run: %v", err)
	}
	rows, err := run(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	checkRows(t, rows, m)
	w.Settled()
	events := len(w.Messages("REKEY_EVENTS"))
	if _, err := run(0, 0); err != nil || len(w.Messages("REKEY_EVENTS")) != events {
		t.Errorf("a repeat of what is done asks for more: %v", err)
	}
	for _, token := range m.tokens {
		if n := atlas.Revoked(token); n != 1 {
			t.Fatalf("a token was revoked %d times", n)
		}
	}
	if n := len(atlas.Authenticated("/databaseUsers/")); n != len(m.users) || len(w.Results(len(list))) != len(list) {
		t.Errorf("%d users got another password, want %d; %d results", n, len(m.users), len(w.Results(0)))
	}
	apptest.Canaries{"token": m.tokens[0], "other": m.others[7]}.SearchEverything(t, w)
}

// checkRows checks that each value of a list has ended as it should.
func checkRows(t *testing.T, rows []leaks.Row, m *mixed) {
	t.Helper()
	ends := map[string]int{}
	for i := range rows {
		ends[string(rows[i].Kind)+" "+string(rows[i].Outcome)]++
	}
	if ends["token.revoke revoked"] != len(m.tokens) || ends["database_user.scramble revoked"] != len(m.users) || ends["leak.contain refused"] != len(m.others) {
		t.Errorf("the rows end as %v", ends)
	}
}
